/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* A packet that belongs to no connection: is it to open one, and to which server? */
#pragma once

#include "fullnat.h"
#include "nat.h"

/* Where a packet was met, and what that place can do. */
enum place_met {
	MET_EARLY, /* XDP: leaves what it can't do to the next */
	MET_LAST,
	MET_HERE, /* where the director's own programs send from */
};

/* Addresses that no honest packet comes from. The kernel's stack refuses them too, so they are left to it. */
static __always_inline bool hostile_source(const struct tuple *tuple)
{
	const struct address *source = &tuple->source;
	if (same_address(source, &tuple->destination))
		return true;
	__u8 first = is_ipv4(source) ? source->word[3] & 0xff : source->word[0] & 0xff;
	if (is_ipv4(source))
		return first == 0 || first == 127 || first >= 224;
	return first == 0xff || (!source->half[0] && !source->word[2] && bpf_ntohl(source->word[3]) <= 1);
}

/* 127.0.0.0/8 and ::1: no packet from there may leave the host, and none may come to there from outside. */
static __always_inline bool is_loopback(const struct address *address)
{
	return is_ipv4(address) ? (address->word[3] & 0xff) == 127
				: !address->half[0] && !address->word[2] && address->word[3] == bpf_htonl(1);
}

static __always_inline bool opens(__u16 tcp_flags)
{
	return (tcp_flags & (TCP_SYN | TCP_RST)) == TCP_SYN;
}

/* No program has port 0. What comes from FTP's data port belongs to a connection that its server has already, or to none of ours. */
static __always_inline bool has_strange_ports(const struct tuple *tuple)
{
	__be16 source = tuple->ports, destination = tuple->ports >> 16;
	return !source || !destination || source == bpf_htons(PORT_FTP_DATA);
}

/* To an address of its own the director's programs send from that very address, unless they ask for another. */
static __always_inline bool may_create(const struct tuple *tuple, __u16 tcp_flags, bool here)
{
	if ((here ? is_loopback(&tuple->source) : hostile_source(tuple)) || has_strange_ports(tuple))
		return false;
	if (tuple->protocol == IPPROTO_UDP || opens(tcp_flags))
		return true;
	if (tcp_flags & (TCP_RST | NO_CHUNK))
		return false;
	return tuple->protocol == IPPROTO_SCTP ? knob(KNOB_SLOPPY_SCTP) : knob(KNOB_SLOPPY_TCP);
}

/* drop_packet: one of so many new connections is turned away, so that the others have a chance. */
static __always_inline bool turned_away(void)
{
	struct settings *setting = all_settings();
	if (likely(!setting || !(READ_ONCE(setting->defences) & DEFENCE_DROP_PACKET)))
		return false;
	__u32 rate = READ_ONCE(setting->drop_rate);
	return rate <= 1 || bpf_get_prandom_u32() % rate == 0;
}

/* No client has an address of the director's. The kernel's stack drops such packets; all that it does is not asked for here. */
static __always_inline bool is_spoofed(const struct tuple *tuple)
{
	struct address source = tuple->source;
	return has_role(&source, ADDRESS_VIP | ADDRESS_LOCAL | ADDRESS_DIP);
}

/*
 * A packet that XDP has opened a connection for may go up to tc all the same, and there it is met as one of that connection's.
 * So XDP opens none where that makes a difference: none is kept, or a SYN for a quiesced server ends its former.
 */
static __always_inline bool is_for_last(const struct service *service)
{
	return service->one_packet || (service->persistence && knob(KNOB_EXPIRE_NODEST_CONN));
}

/* The service that wants a packet that belongs to no connection. */
__noinline int find_wanted(const struct tuple *tuple, __u32 tcp_flags, __u32 mark, __u32 met, struct created *created)
{
	if (!tuple || !created || !may_create(tuple, tcp_flags, met == MET_HERE))
		return VERDICT_PASS;
	created->here = met == MET_HERE;
	created->service = find_service(tuple, mark) - 1;
	struct service *service = service_at(created->service);
	if (!service || (met == MET_EARLY && is_for_last(service)) || (met != MET_HERE && is_spoofed(tuple)))
		return VERDICT_PASS;
	created->one_packet = service->one_packet;
	return turned_away() ? refuse(created, DROP_DEFENCE) : VERDICT_REQUEST;
}

/* What the packet says of it comes when it is accounted for. To TCP's tables the same once more is no news, but to SCTP's. */
static __always_inline __u8 first_state(__u8 protocol, __u32 method, __u16 tcp_flags)
{
	if (protocol == IPPROTO_SCTP)
		return STATE_SCTP_NONE;
	if (protocol == IPPROTO_UDP)
		return STATE_UDP;
	return state_after(STATE_NONE, defended(rewrites(method) ? INPUT : INPUT_ONLY), protocol, tcp_flags);
}

/* The server that is to have it. No connection is made yet. */
__noinline int choose(struct opening *opening, __u32 tcp_flags)
{
	struct service *service = opening ? service_at(opening->created.service) : NULL;
	if (!opening || !service)
		return VERDICT_PASS;
	struct created *created = &opening->created;
	created->server =
		service->persistence ? persist(opening, service) : schedule(&opening->tuple, created->service);
	struct server *server = created->server ? server_at(created->server - 1) : NULL;
	if (!server) {
		created->reason = DROP_NO_SERVER;
		return VERDICT_UNREACHABLE;
	}
	created->method = server->method;
	created->state = first_state(opening->tuple.protocol, server->method, tcp_flags);
	if (created->one_packet)
		leave_template(created->template);
	return VERDICT_REQUEST;
}

/* The slots of a connection to the server that has been chosen: first the client's, except that FULLNAT begins with the other. */
static __always_inline int connect(struct opening *opening)
{
	struct created *created = &opening->created;

	if (created->method == METHOD_FULLNAT && allocate(&opening->tuple, created) != VERDICT_REQUEST)
		return VERDICT_DROP;
	int verdict = insert_request(&opening->tuple, created);
	if (verdict == VERDICT_REQUEST && created->made && created->method == METHOD_NAT)
		verdict = insert_answer(opening);
	return verdict;
}
