/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The short way through tc, for what is most common: a whole packet of an established connection by NAT or DR, or by FULLNAT once
 * there is nothing more to tell, whose next hop is remembered, and whose state stays as it is. It is changed in place and leaves
 * with the MACs that are remembered, as on XDP; once a second a packet takes the complete way, through the kernel's neighbour
 * table, so that the neighbour is probed as always. What is not sent here is as it came, and nothing has been counted.
 */
#pragma once

#include "forward_tc.h"

enum { NOT_SENT = -2 }; /* none of the actions that tc knows */

/* The connection of a packet that can open or end none, as `decide` would find it. */
static __always_inline bool is_established(const struct packet *packet, struct decision *decision)
{
	struct place place = place_of(&packet->tuple);
	__u32 index = place.bucket;
	struct bucket *home = bpf_map_lookup_elem(&connections, &index);
	struct connection *connection = home ? find_likely(home, &packet->tuple, &place) : NULL;
	if (!connection || packet->tcp_flags & TCP_SYN)
		return false;
	take_from(connection, decision);
	return !(decision->control & HERE) && decision->server && decision->server->phase == SERVER_AVAILABLE &&
	       !decision->server->local;
}

/* The addresses behind the director are of another family, or the server has yet to be told who the client is. */
static __always_inline bool is_unsettled(const struct packet *packet, const struct connection *owner,
					 const struct address *behind)
{
	return is_ipv4(behind) != packet->ipv4 || (packet->tcp_header && !(READ_ONCE(owner->control) & SETTLED));
}

/* Is it a packet that needs nothing but other addresses, ports and MACs? */
static __always_inline bool is_plain(const struct packet *packet, struct decision *decision, enum verdict verdict)
{
	__u32 method = method_of(decision->control);
	if (method == METHOD_TUN || packet->ttl <= 1)
		return false;
	if (verdict == VERDICT_REQUEST)
		return method != METHOD_FULLNAT ||
		       !is_unsettled(packet, decision->connection, &decision->server->address);
	if (knows_by_itself(decision))
		return true;
	struct connection *owner = decision->owner = peer_of(decision->connection);
	return owner && (method != METHOD_FULLNAT || !is_unsettled(packet, owner, &owner->source));
}

static __always_inline bool remembered_way(const struct __sk_buff *skb, const struct packet *packet,
					   const struct decision *decision, const struct rewriting *to,
					   enum verdict verdict, struct way *way)
{
	__u32 length = skb->gso_size ? skb->gso_size + packet->headers : packet->length;
	if (verdict == VERDICT_REQUEST)
		return way_to_server(decision->server, length, way);
	struct address client = client_of(packet, to);
	return to->source && remembered_way_to_client(to->source, &client, skb->ifindex, length, true, way);
}

/* Layer 4's checksum comes last: its helper makes every pointer into the packet invalid. */
static __always_inline bool rewrite_in_place(struct __sk_buff *skb, const struct packet *packet, struct frame *frame,
					     const struct rewriting *to)
{
	__u32 ports = packet->tuple.ports, at = packet->l4_offset;
	__u64 flags = frame->udp ? BPF_F_MARK_MANGLED_0 : 0;
	at += frame->udp ? offsetof(struct udphdr, check) : offsetof(struct tcphdr, check);
	write_ports(frame, to);
	if (bpf_l4_csum_replace(skb, at, 0, write_addresses(frame, to), flags | BPF_F_PSEUDO_HDR))
		return false;
	return ports == to->ports || !bpf_l4_csum_replace(skb, at, ports, to->ports, flags | 4);
}

/* Verified once by itself, and with a frame of its own. */
__noinline int send_shortly(struct __sk_buff *skb)
{
	struct packet packet;
	struct frame frame;
	struct decision decision = {};
	struct way way;
	if (parse((void *)(long)skb->data, (void *)(long)skb->data_end, skb->len, &packet, &frame, true) !=
		    PARSED_PORTS ||
	    !is_established(&packet, &decision))
		return NOT_SENT;
	enum verdict verdict = side_of(decision.control) == SIDE_SERVER ? VERDICT_REPLY : VERDICT_REQUEST;
	if (!is_plain(&packet, &decision, verdict))
		return NOT_SENT;
	__u32 method = method_of(decision.control);
	struct rewriting to = rewriting_of(packet.tuple.ports, &decision, method, verdict);
	if (!remembered_way(skb, &packet, &decision, &to, verdict, &way) ||
	    is_news(decision.connection, decision.control, direction_of(&decision, verdict), packet.tcp_flags))
		return NOT_SENT;
	put_off(decision.connection, state_of(decision.control));
	count_forwarded(&packet, &decision, verdict);
	count_hop(&frame);
	write_macs(frame.eth, &way);
	if (rewrites(method) && !rewrite_in_place(skb, &packet, &frame, &to)) {
		count(DROP_REWRITE);
		return TC_ACT_SHOT;
	}
	return bpf_redirect(way.interface, 0);
}
