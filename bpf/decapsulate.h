/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Takes the outer headers off. What is left is a frame as if the inner packet had come by itself. */
#pragma once

#include "realserver_maps.h"
#include "tunnel.h"

/* Congestion that was met inside the tunnel is told to the inner packet (RFC 6040). */
static __always_inline bool mark_congestion(struct __sk_buff *skb, const struct tunnelled *tunnelled)
{
	__u8 start[2], marked[2];
	__be16 from, to;
	if (bpf_skb_load_bytes(skb, tunnelled->offset, start, sizeof(start)))
		return false;
	marked[0] = start[0];
	marked[1] = start[1] | (tunnelled->inner_ipv6 ? ECN_CE << 4 : ECN_CE);
	if (tunnelled->inner_ipv6)
		return !bpf_skb_store_bytes(skb, tunnelled->offset, marked, sizeof(marked), BPF_F_RECOMPUTE_CSUM);
	__builtin_memcpy(&from, start, sizeof(from));
	__builtin_memcpy(&to, marked, sizeof(to));
	return !bpf_l3_csum_replace(skb, tunnelled->offset + offsetof(struct iphdr, check), from, to, sizeof(to)) &&
	       !bpf_skb_store_bytes(skb, tunnelled->offset, marked, sizeof(marked), 0);
}

/*
 * bpf_skb_adjust_room keeps the packet's family before Linux 6.3, and bpf_skb_change_proto changes it on every kernel: it only
 * adds or takes away the difference of two IP headers, which the rest then accounts for. Neither touches the inner packet.
 */
static __always_inline bool take_outer_off(struct __sk_buff *skb, const struct tunnelled *tunnelled)
{
	enum { DIFFERENCE = sizeof(struct ipv6hdr) - sizeof(struct iphdr) };
	__s32 bytes = tunnelled->offset - sizeof(struct ethhdr);
	if (tunnelled->inner_ipv6 != tunnelled->ipv6) {
		__be16 kind = tunnelled->inner_ipv6 ? bpf_htons(ETH_P_IPV6) : bpf_htons(ETH_P_IP);
		if (bpf_skb_change_proto(skb, kind, 0))
			return false;
		bytes += tunnelled->inner_ipv6 ? DIFFERENCE : -DIFFERENCE;
		if (bpf_skb_store_bytes(skb, offsetof(struct ethhdr, h_proto), &kind, sizeof(kind), 0))
			return false;
	}
	if (bpf_skb_adjust_room(skb, -bytes, BPF_ADJ_ROOM_MAC, BPF_F_ADJ_ROOM_FIXED_GSO | BPF_F_ADJ_ROOM_NO_CSUM_RESET))
		return false;
	if (tunnelled->checksummed) /* what a network card has checked was, first of all, this one */
		bpf_csum_level(skb, BPF_CSUM_LEVEL_DEC);
	return true;
}
