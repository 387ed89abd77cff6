/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The fast path: frames are changed in place. What it can't do right goes up to the tc program, before anything is counted. */
#pragma once

#include "client_way.h"
#include "in_place.h"
#include "outer.h"

/* Null for one that the director is not attached to. */
static __always_inline struct interface *interface_at(__u32 index)
{
	__u32 slot = index % INTERFACES;
	struct interface *interface = bpf_map_lookup_elem(&interfaces, &slot);
	return interface && interface->index == index ? interface : NULL;
}

static __always_inline bool same_mac(const __u8 *a, const __u8 *b)
{
	return *(const __u32 *)a == *(const __u32 *)b && *(const __u16 *)(a + 4) == *(const __u16 *)(b + 4);
}

/* Frames for other stations, seen because the interface is promiscuous, are not ours. */
static __always_inline bool for_this_host(const struct interface *interface, const struct ethhdr *eth)
{
	return interface && same_mac(interface->mac, eth->h_dest);
}

static __noinline int look_up_client(struct xdp_md *ctx, const struct address *vip, const struct address *client,
				     __u32 length, struct way *way)
{
	if (!vip || !client || !way)
		return false;
	struct bpf_fib_lookup fib = {.tot_len = length};
	if (look_up_route(ctx, &fib, vip, client, ctx->ingress_ifindex) != BPF_FIB_LKUP_RET_SUCCESS)
		return false;
	way->destination_mac = mac_to_u64(fib.dmac);
	way->source_mac = mac_to_u64(fib.smac);
	way->interface = fib.ifindex;
	remember_client(vip, client, ctx->ingress_ifindex, &fib, false);
	return true;
}

/* For the same reason the first answer of a connection goes through tc, and one answer of each server every second. */
static __always_inline bool way_to_client(struct xdp_md *ctx, const struct packet *packet,
					  const struct decision *decision, const struct rewriting *to, struct way *way)
{
	struct next_hop *hop = &decision->server->next_hop;
	if (packet->tcp_flags & TCP_SYN)
		return false;
	if (due(READ_ONCE(hop->answers_until), now_in_ticks())) {
		WRITE_ONCE(hop->answers_until, now_in_ticks() + TICKS_A_SECOND);
		return false;
	}
	if (!to->source)
		return false;
	struct address known_as = client_of(packet, to);
	if (likely(remembered_way_to_client(to->source, &known_as, ctx->ingress_ifindex, packet->length, false, way)))
		return true;
	struct address client = known_as; /* copies are pointed at: see `find` */
	struct way found;
	if (!look_up_client(ctx, to->source, &client, packet->length, &found))
		return false;
	*way = found;
	return true;
}

static __always_inline void rewrite_xdp(struct frame *frame, const struct rewriting *to)
{
	__u32 difference = write_ports(frame, to) + write_addresses(frame, to);
	if (frame->tcp) {
		frame->tcp->check = checksum_plus(frame->tcp->check, difference);
	} else if (frame->udp && frame->udp->check) {
		__u16 check = checksum_plus(frame->udp->check, difference);
		frame->udp->check = check ? check : 0xffff;
	}
}

static __always_inline int leave_xdp(struct xdp_md *ctx, const struct interface *out, const struct way *way)
{
	if (way->interface == ctx->ingress_ifindex && out->xdp_sending == XDP_SENDING_DIRECT)
		return XDP_TX;
	return bpf_redirect(way->interface, 0);
}

/* The frame is not what it was any more, so there is nothing to tell of it. */
static __always_inline int lost_in_xdp(void)
{
	count(DROP_REWRITE);
	return XDP_DROP;
}

/* The tunnel's own header, at a distance from the frame's start that is the same for all of one family. */
static __always_inline bool write_tunnel_xdp(struct xdp_md *ctx, __u32 at, const struct server *server,
					     const struct inner *inner)
{
	struct cursor cursor = {(void *)(long)ctx->data + at, (void *)(long)ctx->data_end};
	if (server->tunnel.type == TUNNEL_GUE) {
		struct udphdr *udp = take(&cursor, struct udphdr);
		struct guehdr *gue = take(&cursor, struct guehdr);
		if (!udp || !gue)
			return false;
		fill_gue(udp, gue, inner);
	} else if (server->tunnel.type == TUNNEL_GRE) {
		struct grehdr *gre = take(&cursor, struct grehdr);
		if (!gre)
			return false;
		fill_gre(gre, inner);
	}
	return true;
}

/* Make room in front and write the outer headers. False if the driver left no room: nothing can be done then. */
__noinline int encapsulate_xdp(struct xdp_md *ctx, __u32 server_index, const struct inner *inner, const struct way *way)
{
	struct server *server = server_at(server_index);
	if (!server || !inner || !way || bpf_xdp_adjust_head(ctx, -(int)overhead(server)))
		return false;
	struct cursor cursor = {(void *)(long)ctx->data, (void *)(long)ctx->data_end};
	struct ethhdr *eth = take(&cursor, struct ethhdr);
	if (!eth)
		return false;
	write_macs(eth, way);
	if (is_ipv4(&server->address)) {
		struct iphdr *outer = take(&cursor, struct iphdr);
		if (!outer)
			return false;
		eth->h_proto = bpf_htons(ETH_P_IP);
		fill_outer_ipv4(outer, server, inner);
		return write_tunnel_xdp(ctx, sizeof(struct ethhdr) + sizeof(struct iphdr), server, inner);
	}
	struct ipv6hdr *outer = take(&cursor, struct ipv6hdr);
	if (!outer)
		return false;
	eth->h_proto = bpf_htons(ETH_P_IPV6);
	fill_outer_ipv6(outer, server, inner);
	return write_tunnel_xdp(ctx, sizeof(struct ethhdr) + sizeof(struct ipv6hdr), server, inner);
}

/*
 * What only the complete path can do: another family behind the director, a tunnel with checksums, telling the server who the
 * client is, and the director's own stack as a real server.
 */
static __always_inline bool is_for_tc(const struct frame *frame, const struct decision *decision, __u32 method,
				      enum verdict verdict)
{
	const struct server *server = decision->server;
	bool ipv4 = frame->ip;
	if (unlikely(server->local))
		return true;
	if (method == METHOD_TUN)
		return server->tunnel.checksum != TUNNEL_NOCSUM;
	if (likely(method != METHOD_FULLNAT))
		return false;
	if (verdict == VERDICT_REQUEST)
		return is_ipv4(&server->address) != ipv4 || (frame->tcp && !(decision->control & SETTLED));
	return !decision->owner || is_ipv4(&decision->owner->source) != ipv4 ||
	       (frame->tcp && !(READ_ONCE(decision->owner->control) & SETTLED));
}

static __always_inline int forward_xdp(struct xdp_md *ctx, struct interface *in, struct packet *packet,
				       struct frame *frame, struct decision *decision, enum verdict verdict)
{
	struct way way;
	__u32 method = method_of(decision->control);
	bool request = verdict == VERDICT_REQUEST;
	if (ttl_of(frame) <= 1 || is_for_tc(frame, decision, method, verdict))
		return XDP_PASS;
	struct rewriting to = rewriting_of(packet->tuple.ports, decision, method, verdict);
	__u32 added = method == METHOD_TUN ? overhead(decision->server) : 0;
	if (!(request ? way_to_server(decision->server, packet->length + added, &way)
		      : way_to_client(ctx, packet, decision, &to, &way)))
		return XDP_PASS;
	struct interface *out = likely(way.interface == in->index) ? in : interface_at(way.interface);
	if (!out || out->xdp_sending == XDP_SENDING_NOT)
		return XDP_PASS;
	if (!account(packet, decision, verdict))
		return XDP_PASS;
	if (rewrites(method))
		rewrite_xdp(frame, &to);
	if (method == METHOD_TUN) {
		read_for_outer(frame, packet);
		struct inner inner = inner_of(packet);
		inner.tunnel = decision->server->tunnel;
		struct way chosen = way;
		count_hop(frame);
		return encapsulate_xdp(ctx, decision->server_index, &inner, &chosen) ? leave_xdp(ctx, out, &way)
										     : lost_in_xdp();
	}
	count_hop(frame);
	write_macs(frame->eth, &way);
	return leave_xdp(ctx, out, &way);
}
