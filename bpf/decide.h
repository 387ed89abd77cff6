/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What becomes of a packet: pass, drop by name, or forward to a server or back to its client. Nothing is sent here. */
#pragma once

#include "connection.h"
#include "schedule.h"

enum verdict { VERDICT_PASS, VERDICT_DROP, VERDICT_REQUEST, VERDICT_REPLY };

struct decision {
	enum drop_reason reason;
	__u64 control;
	struct connection *connection;
	struct server *server;
	__u32 server_index;
	bool rewrite; /* NAT: the destination of a request, the source of a reply */
};

/* Addresses that no honest packet comes from. The kernel's stack refuses them too, so they are left to it. */
static __always_inline bool hostile_source(const struct tuple *tuple)
{
	__be32 source = tuple->source.word[3];
	__u8 first = source & 0xff;
	return first == 0 || first == 127 || first >= 224 || source == tuple->destination.word[3];
}

static __always_inline bool opens(__u8 tcp_flags)
{
	return (tcp_flags & (TCP_SYN | TCP_RST)) == TCP_SYN;
}

static __always_inline bool may_create(const struct tuple *tuple, __u8 tcp_flags)
{
	return (tuple->protocol != IPPROTO_TCP || opens(tcp_flags)) && !hostile_source(tuple);
}

/* The port of a request to a server. */
static __always_inline __be16 port_at_server(const struct server *server, __be16 asked)
{
	return server->port ?: asked;
}

static __always_inline struct tuple answer_tuple(const struct tuple *tuple, const struct server *server)
{
	return (struct tuple){
		.source = server->address,
		.destination = tuple->source,
		.ports = join_ports(port_at_server(server, tuple->ports >> 16), tuple->ports),
		.protocol = tuple->protocol,
	};
}

/* A client uses one port for two services of one server. The older connection gives way unless it is active. */
static __noinline bool give_way(const struct tuple *answer)
{
	if (!answer)
		return false;
	struct connection *found = find_again(answer);
	if (!found)
		return true;
	struct connection *owner = side_of(READ_ONCE(found->control)) == SIDE_SERVER ? peer_of(found) : NULL;
	if (!owner)
		return false;
	__u64 control = READ_ONCE(owner->control);
	if (phase_of(control) != PHASE_LIVE || is_active(state_of(control)))
		return false;
	return end_connection(owner, found->peer - 1, control);
}

/* Both sides know each other from here on. The answer's is told what has happened to its owner meanwhile. */
static __noinline int join(struct connection *owner, __u32 owner_index, __u32 answer_index)
{
	struct connection *answer = slot_at(answer_index);
	if (!owner || !answer)
		return 0;
	/* whoever ends the owner from here on ends both */
	(void)__sync_lock_test_and_set(&owner->peer, answer_index + 1);
	if (phase_of(READ_ONCE(owner->control)) == PHASE_LIVE)
		publish_state(owner, answer, READ_ONCE(owner->deadline));
	else
		kill_peer(answer, owner_index);
	return 0;
}

/* End a connection that got no second slot, whatever other packets have made of its state meanwhile. */
static __noinline int take_back(struct connection *owner, __u32 index)
{
	if (!owner)
		return 0;
	for (int i = 0; i < 8; i++) {
		__u64 control = READ_ONCE(owner->control);
		if (phase_of(control) != PHASE_LIVE || end_connection(owner, index, control))
			return 0;
	}
	return 0;
}

/* The second slot of a NAT connection, by which answers are found. */
static __always_inline int insert_answer(const struct tuple *tuple, const struct server *server, struct entry *entry,
					 struct connection *owner, __u32 owner_index)
{
	struct tuple answer = answer_tuple(tuple, server);
	__u32 index = 0;
	entry->side = SIDE_SERVER;
	entry->peer = owner_index + 1;
	int result = insert(&answer, entry, &index);
	if (result == FOUND && give_way(&answer))
		result = insert(&answer, entry, &index);
	if (result == CLAIMED)
		join(owner, owner_index, index);
	return result;
}

static __always_inline void count_connection(const struct decision *decision)
{
	struct statistics *statistics = bpf_map_lookup_elem(&server_statistics, &decision->server_index);
	if (statistics)
		statistics->connections++;
	statistics = bpf_map_lookup_elem(&service_statistics, &decision->server->service);
	if (statistics)
		statistics->connections++;
}

static __always_inline enum verdict drop(struct decision *decision, enum drop_reason reason)
{
	decision->reason = reason;
	return VERDICT_DROP;
}

/* A packet that belongs to no connection: make one, if a service wants it. */
static __noinline int create(const struct tuple *tuple, __u32 tcp_flags, __u32 fragment, __u32 mark,
			     struct decision *decision)
{
	if (!tuple || !decision)
		return VERDICT_PASS;
	__u32 service_index = 0;
	struct service *service = service_of(tuple, mark, &service_index);
	if (!service || !may_create(tuple, tcp_flags))
		return VERDICT_PASS;
	if (fragment)
		return drop(decision, DROP_FRAGMENT);
	if (!schedule(service, service_index, &decision->server_index))
		return drop(decision, DROP_NO_SERVER);
	struct server *server = decision->server = server_at(decision->server_index);
	/* a ring may be older than a change of what it names */
	if (!server || READ_ONCE(server->phase) != SERVER_AVAILABLE || server->service != service_index)
		return drop(decision, DROP_NO_SERVER);

	struct entry entry = {
		.side = SIDE_CLIENT,
		.method = server->method,
		.state = tuple->protocol == IPPROTO_TCP ? STATE_SYN_RECV : STATE_UDP,
		.server = decision->server_index,
	};
	entry.deadline = deadline_after(entry.state);
	__u64 load = load_of(entry.state);
	__sync_fetch_and_add(&server->load, load);
	__u32 index = 0;
	int result = insert(tuple, &entry, &index);
	if (result != CLAIMED)
		__sync_fetch_and_add(&server->load, -load);
	if (result == FULL)
		return drop(decision, DROP_TABLE_FULL);
	struct connection *connection = result == CLAIMED ? slot_at(index) : find_again(tuple);
	if (!connection)
		return drop(decision, DROP_TABLE_FULL);
	decision->connection = connection;
	decision->control = READ_ONCE(connection->control);
	if (result == FOUND) { /* another CPU made it meanwhile */
		decision->server_index = connection->server;
		decision->server = server_at(decision->server_index);
		return decision->server ? VERDICT_REQUEST : drop(decision, DROP_SERVER_DELETED);
	}
	if (entry.method == METHOD_NAT) {
		result = insert_answer(tuple, server, &entry, connection, index);
		if (result != CLAIMED) {
			take_back(connection, index);
			return drop(decision, result == FULL ? DROP_TABLE_FULL : DROP_TUPLE_IN_USE);
		}
	}
	count_connection(decision);
	return VERDICT_REQUEST;
}

static __always_inline enum verdict decide_new(const struct packet *packet, struct decision *decision)
{
	struct tuple tuple = packet->tuple; /* copies are pointed at, so that the fast path's may stay in registers */
	struct decision made = {};
	enum verdict verdict = create(&tuple, packet->tcp_flags, packet->fragment, packet->mark, &made);
	*decision = made;
	decision->rewrite = method_of(made.control) == METHOD_NAT;
	return verdict;
}

/* A client that opens a new connection from a port whose former one has closed: the kernel's conn_reuse_mode=1. */
static __always_inline bool reuses_port(const struct packet *packet, __u64 control)
{
	__u32 state = state_of(control);
	return opens(packet->tcp_flags) && side_of(control) == SIDE_CLIENT && !packet->fragment &&
	       (state == STATE_TIME_WAIT || state == STATE_CLOSE);
}

/* One that is still being made is left alone: it is as new as the packet. */
static __always_inline void end_former(struct connection *former, __u64 control)
{
	struct connection *peer = peer_of(former);
	if (peer || method_of(control) != METHOD_NAT)
		end_connection(former, peer ? peer->peer - 1 : 0, control);
}

static __always_inline enum verdict decide(const struct packet *packet, struct decision *decision)
{
	struct place place = place_of(&packet->tuple);
	struct connection *connection = find(&packet->tuple, &place);
	if (unlikely(!connection))
		return decide_new(packet, decision);
	__u64 control = READ_ONCE(connection->control);
	if (unlikely(packet->tcp_flags & TCP_SYN && reuses_port(packet, control))) {
		end_former(connection, control);
		return decide_new(packet, decision);
	}
	decision->connection = connection;
	decision->control = control;
	__u32 server_index = decision->server_index = connection->server;
	decision->rewrite = method_of(control) == METHOD_NAT;
	struct server *server = decision->server = server_at(server_index);
	if (!server)
		return drop(decision, DROP_SERVER_DELETED);
	if (unlikely(packet->fragment))
		return drop(decision, DROP_FRAGMENT);
	if (side_of(control) == SIDE_SERVER)
		return VERDICT_REPLY;
	if (unlikely(server->phase != SERVER_AVAILABLE))
		return drop(decision, DROP_SERVER_DELETED);
	return VERDICT_REQUEST;
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

/* The packet is going to be forwarded: the connection's state, its end, and the counters follow it. */
static __always_inline bool account(const struct packet *packet, const struct decision *decision, enum verdict verdict)
{
	enum direction direction = verdict == VERDICT_REPLY ? OUTPUT : decision->rewrite ? INPUT : INPUT_ONLY;
	if (!refresh(decision->connection, decision->control, direction, packet->tcp_flags))
		return false;
	if (decision->server->phase != SERVER_AVAILABLE)
		return true;
	__u32 server_index = decision->server_index;
	count_packet(bpf_map_lookup_elem(&server_statistics, &server_index), verdict, packet->length);
	count_packet(bpf_map_lookup_elem(&service_statistics, &decision->server->service), verdict, packet->length);
	return true;
}

static __always_inline void count_drop(enum drop_reason reason)
{
	__u32 index = reason;
	__u64 *count = bpf_map_lookup_elem(&drops, &index);
	if (count)
		++*count;
}
