/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What becomes of a packet: pass, drop by name, or forward to a server or back to its client. Nothing is sent here. */
#pragma once

#include "create.h"
#include "stray.h"

struct decision {
	enum drop_reason reason;
	__u64 control;
	struct connection *connection; /* null for a packet of one-packet scheduling */
	struct connection *owner;      /* of a reply, where it is needed: see `knows_by_itself` */
	struct server *server;
	__u32 server_index;
};

static __always_inline enum verdict drop(struct decision *decision, enum drop_reason reason)
{
	decision->reason = reason;
	return VERDICT_DROP;
}

/* A reset is no news to anybody; what has no hop left is the host's to refuse. */
static __always_inline bool is_stray(const struct packet *packet, const struct opening *opening,
				     struct decision *decision)
{
	int sender = packet->tcp_flags & TCP_RST || packet->ttl <= 1 ? 0 : find_sender(&opening->tuple);
	if (!sender)
		return false;
	decision->server_index = sender - 1;
	decision->server = server_at(decision->server_index);
	return decision->server;
}

static __always_inline enum verdict decide_new(const struct packet *packet, __u32 mark, enum place_met met,
					       struct decision *decision)
{
	__u32 zero = 0;
	if (is_later_fragment(packet))
		return drop(decision, DROP_ENDED);
	struct opening *opening = bpf_map_lookup_elem(&openings, &zero);
	if (!opening)
		return VERDICT_PASS;
	opening->tuple = packet->tuple;
	if (unlikely(knob(KNOB_NAT_ICMP_SEND)) && is_stray(packet, opening, decision)) {
		decision->reason = DROP_NO_CONNECTION;
		return VERDICT_UNREACHABLE;
	}
	opening->created = (struct created){};
	int verdict = find_wanted(&opening->tuple, packet->tcp_flags, mark, met, &opening->created);
	if (verdict == VERDICT_REQUEST)
		verdict = choose(opening, packet->tcp_flags);
	if (verdict == VERDICT_REQUEST && !opening->created.one_packet)
		verdict = connect(opening);
	decision->reason = opening->created.reason;
	if (verdict != VERDICT_REQUEST)
		return verdict;
	decision->server_index = opening->created.server - 1;
	decision->server = server_at(decision->server_index);
	if (!decision->server)
		return drop(decision, DROP_SERVER_DELETED);
	if (opening->created.made || opening->created.one_packet)
		count_connection(decision->server, decision->server_index);
	bool made = opening->created.made;
	if (!opening->created.connection)
		return VERDICT_REQUEST;
	decision->connection = slot_at(opening->created.connection - 1);
	if (!decision->connection)
		return drop(decision, DROP_ENDED);
	decision->control = READ_ONCE(decision->connection->control);
	if (made)
		tell(EVENT_SCHEDULED, decision->connection);
	return VERDICT_REQUEST;
}

/*
 * A client that opens a new connection from a port whose former one has closed, as far as conn_reuse_mode allows: bit 0 after
 * TIME_WAIT and CLOSE, bit 1 after FIN_WAIT, too, where the server's side can't be seen. One that has a template goes on instead.
 */
static __always_inline bool reuses_port(const struct connection *former, __u64 control)
{
	__u32 state = state_of(control), mode = knob(KNOB_CONN_REUSE_MODE);
	if (template_of(former, peer_of(former), control))
		return false;
	if (state == STATE_FIN_WAIT)
		return mode & 2 && !rewrites(method_of(control));
	return mode && (state == STATE_TIME_WAIT || state == STATE_CLOSE || state == STATE_SCTP_CLOSED);
}

/* One that is still being made is left alone: it is as new as the packet. */
static __always_inline void end_former(struct connection *former, __u64 control)
{
	struct connection *peer = peer_of(former);
	if ((peer || !rewrites(method_of(control))) && end_connection(former, peer ? peer->peer - 1 : 0, control))
		tell(EVENT_EXPIRED, former);
}

/* Does a client's packet end its former connection, and may it so open another? */
__noinline int ends_former(struct connection *connection, __u32 tcp_flags)
{
	struct server *server = connection ? server_at(connection->server) : NULL;
	if (!connection || !server)
		return false;
	__u64 control = READ_ONCE(connection->control);
	bool gone = server->phase != SERVER_AVAILABLE && knob(KNOB_EXPIRE_NODEST_CONN);
	bool quiesced = !server->weight && knob(KNOB_EXPIRE_NODEST_CONN) && opens((__u16)tcp_flags);
	if (!gone && !quiesced && !(opens((__u16)tcp_flags) && reuses_port(connection, control)))
		return false;
	end_former(connection, control);
	return true;
}

/* A reply whose VIP, port or client are not said by its tuple and its server: the connection's other side says them. */
static __always_inline bool knows_by_itself(const struct decision *decision)
{
	return method_of(decision->control) != METHOD_FULLNAT && !decision->server->many_to_one;
}

static __always_inline enum verdict decide_reply(struct decision *decision)
{
	if (knows_by_itself(decision))
		return VERDICT_REPLY;
	decision->owner = peer_of(decision->connection);
	return decision->owner ? VERDICT_REPLY : drop(decision, DROP_ENDED);
}

/* What a connection says of its packets. */
static __always_inline void take_from(struct connection *connection, struct decision *decision)
{
	decision->connection = connection;
	decision->control = READ_ONCE(connection->control);
	decision->server_index = connection->server;
	decision->server = server_at(decision->server_index);
}

static __always_inline enum verdict decide(const struct packet *packet, __u32 mark, enum place_met met,
					   struct decision *decision)
{
	struct place place = place_of(&packet->tuple);
	struct connection *connection = find(&packet->tuple, &place);
	struct server *server = NULL;
	bool fresh = !connection;
	if (likely(connection)) {
		take_from(connection, decision);
		server = decision->server;
		if (!server)
			return drop(decision, DROP_SERVER_DELETED);
		if (side_of(decision->control) == SIDE_SERVER)
			return decide_reply(decision);
		if (unlikely(packet->tcp_flags & TCP_SYN || server->phase != SERVER_AVAILABLE))
			fresh = ends_former(connection, packet->tcp_flags);
	}
	if (unlikely(fresh))
		return decide_new(packet, mark, met, decision);
	if (unlikely(decision->server->phase != SERVER_AVAILABLE))
		return drop(decision, DROP_SERVER_DELETED);
	return VERDICT_REQUEST;
}

/* An answer of the director itself, as a real server of NAT. */
static __always_inline bool find_answer(const struct packet *packet, struct decision *decision)
{
	struct place place = place_of(&packet->tuple);
	struct connection *connection = find(&packet->tuple, &place);
	if (!connection)
		return false;
	take_from(connection, decision);
	return decision->server && decision->server->local && side_of(decision->control) == SIDE_SERVER &&
	       decide_reply(decision) == VERDICT_REPLY;
}

/* What is to be forwarded has a server; the verifier doesn't see that, and is to be shown. */
static __always_inline bool has_server(struct decision *decision)
{
	only_from_here_on(decision->server);
	return decision->server;
}

static __always_inline void count_packet(struct statistics *statistics, enum verdict verdict, __u32 length)
{
	if (!statistics)
		return;
	if (verdict == VERDICT_REQUEST) {
		statistics->in_packets++;
		statistics->in_bytes += length;
	} else {
		statistics->out_packets++;
		statistics->out_bytes += length;
	}
}

static __always_inline __u32 direction_of(const struct decision *decision, enum verdict verdict)
{
	if (verdict == VERDICT_REPLY)
		return defended(OUTPUT);
	return defended(rewrites(method_of(decision->control)) ? INPUT : INPUT_ONLY);
}

static __always_inline void count_forwarded(const struct packet *packet, const struct decision *decision,
					    enum verdict verdict)
{
	if (decision->server->phase != SERVER_AVAILABLE)
		return;
	__u32 server_index = decision->server_index;
	count_packet(bpf_map_lookup_elem(&server_statistics, &server_index), verdict, packet->length);
	count_packet(bpf_map_lookup_elem(&service_statistics, &decision->server->service), verdict, packet->length);
}

/* The packet is going to be forwarded: the connection's state, its end, and the counters follow it. */
static __always_inline bool account(const struct packet *packet, const struct decision *decision, enum verdict verdict)
{
	if (decision->connection &&
	    !refresh(decision->connection, decision->control, direction_of(decision, verdict), packet->tcp_flags))
		return false;
	count_forwarded(packet, decision, verdict);
	return true;
}

static __always_inline void count(enum drop_reason reason)
{
	__u32 index = reason;
	__u64 *dropped = bpf_map_lookup_elem(&drops, &index);
	if (dropped)
		++*dropped;
}

static __always_inline void count_drop(enum drop_reason reason, const struct packet *packet,
				       const struct decision *decision)
{
	count(reason);
	tell_drop(&packet->tuple, decision->connection, decision->server, reason);
}
