/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * schedule_icmp: an ICMP error about a packet of no known connection opens one, if that packet came from a virtual service. So an
 * error still gets to the real server that the scheduler names for the client where several directors share a VIP.
 */
#pragma once

#include "icmp.h"

static __always_inline bool has_ports(__u8 protocol)
{
	return protocol == IPPROTO_TCP || protocol == IPPROTO_UDP || protocol == IPPROTO_SCTP;
}

/* What is quoted of a packet doesn't say whether it was its client's first one. The room has the client's tuple. */
static __always_inline enum verdict open_related(const struct __sk_buff *skb)
{
	__u32 zero = 0;
	struct icmp_room *room = own_room();
	struct opening *opening = bpf_map_lookup_elem(&openings, &zero);
	if (!room || !opening || !has_ports(room->quoted.protocol))
		return VERDICT_PASS;
	opening->tuple = room->quoted;
	opening->created = (struct created){.related = true};
	int verdict = find_wanted(&opening->tuple, TCP_SYN, skb->mark, MET_LAST, &opening->created);
	if (verdict == VERDICT_REQUEST)
		verdict = choose(opening, NO_FLAGS);
	if (verdict == VERDICT_REQUEST && !opening->created.one_packet)
		verdict = connect(opening);
	return verdict;
}

/* An error that no service wants may be about a tunnel packet. Of a drop nobody is told: an ICMP error never causes another one. */
__noinline int count_opened(struct __sk_buff *skb, __u32 verdict)
{
	__u32 zero = 0;
	struct icmp_room *room = own_room();
	struct opening *opening = bpf_map_lookup_elem(&openings, &zero);
	if (!room || !opening)
		return TC_ACT_OK;
	if (verdict == VERDICT_PASS)
		return relay_tunnel_error(skb, room);
	const struct created *created = &opening->created;
	struct server *server = server_at(created->server - 1);
	if (verdict != VERDICT_REQUEST || !server)
		return drop_related(created->reason, room, NULL, NULL);
	struct connection *connection = created->connection ? slot_at(created->connection - 1) : NULL;
	if (created->made || created->one_packet)
		count_connection(server, created->server - 1);
	if (connection && created->made)
		tell(EVENT_SCHEDULED, connection);
	if (!connection)
		room->quoted = answer_tuple(&opening->tuple, server);
	return THEN_RELAY;
}

__noinline int relay_opened(struct __sk_buff *skb)
{
	__u32 zero = 0;
	struct icmp_room *room = own_room();
	struct opening *opening = bpf_map_lookup_elem(&openings, &zero);
	struct server *server = opening ? server_at(opening->created.server - 1) : NULL;
	if (!room || !opening || !server)
		return TC_ACT_OK;
	struct connection *connection = opening->created.connection ? slot_at(opening->created.connection - 1) : NULL;
	__u64 control = connection ? READ_ONCE(connection->control) : (__u64)server->method << CONTROL_METHOD;
	return finish(skb, relay(skb, room, connection, control, opening->created.server - 1));
}

/* One after the other and inlined where it is called: any deeper the stack has no room for what opens a connection, or relays. */
static __always_inline int balance_icmp(struct __sk_buff *skb, __u32 l4_offset)
{
	int action = relay_icmp(skb, l4_offset);
	if (likely(action != THEN_SCHEDULE))
		return action;
	action = count_opened(skb, open_related(skb));
	return action == THEN_RELAY ? relay_opened(skb) : action;
}
