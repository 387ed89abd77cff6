/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* TUN on the complete path, with the checksums that it can ask for. */
#pragma once

#include "sum.h"

static __always_inline __u64 room_flags(const struct server *server, const struct sending *sending)
{
	if (sending->cut) /* the kernel does not shorten what it knows to be a tunnel's */
		return 0;
	__u64 flags = is_ipv4(&server->address) ? BPF_F_ADJ_ROOM_ENCAP_L3_IPV4 : BPF_F_ADJ_ROOM_ENCAP_L3_IPV6;
	if (server->tunnel.type == TUNNEL_GUE)
		flags |= BPF_F_ADJ_ROOM_ENCAP_L4_UDP;
	else if (server->tunnel.type == TUNNEL_GRE)
		flags |= BPF_F_ADJ_ROOM_ENCAP_L4_GRE;
	/* a datagram is not to be cut otherwise than its sender wanted */
	return sending->from.protocol == IPPROTO_UDP ? flags | BPF_F_ADJ_ROOM_FIXED_GSO : flags;
}

static __always_inline __u32 sum_of_address(const struct address *address)
{
	return is_ipv4(address) ? bpf_csum_diff(NULL, 0, &address->word[3], 4, 0)
				: bpf_csum_diff(NULL, 0, address->word, 16, 0);
}

/* The part of a checksum of layer 4 that is not in the packet, folded. */
static __always_inline __u16 pseudo_sum_of(const struct address *source, const struct address *destination,
					   __u8 protocol, __u32 length)
{
	__u64 sum =
		(__u64)sum_of_address(source) + sum_of_address(destination) + bpf_htons(protocol) + bpf_htons(length);
	sum = (sum & 0xffffffff) + (sum >> 32);
	sum = (sum & 0xffff) + (sum >> 16);
	return folded(sum);
}

/* Of layer 4: only the pseudo header's sum stands there, and it isn't right by chance. `rest` is the sum of all that it is in. */
static __always_inline bool is_undone(__u16 check, __u32 rest, __u16 pseudo)
{
	return check == pseudo && folded((__u32)folded(rest) + pseudo) != 0xffff;
}

/*
 * The sum of the packet that is to be wrapped, as it will be when it leaves. A sender on this machine may have left its checksum
 * of layer 4 to whoever sends it: then the sum of the pseudo header stands there, and what the whole will sum up to is known.
 */
static __always_inline int sum_inner(struct __sk_buff *skb, struct sending *sending, __u32 *sum)
{
	__u32 begin = sizeof(struct ethhdr), end = begin + sending->inner.length;
	__u32 l4 = sending->l4_offset, check_at = check_offset(sending), headers = 0, rest = 0;
	__u16 check = 0;
	if (!check_at) {
		*sum = 0;
		return add_bytes(skb, begin, end, sum);
	}
	if (add_bytes(skb, begin, l4, &headers) || add_bytes(skb, l4, end, &rest) ||
	    bpf_skb_load_bytes(skb, check_at, &check, sizeof(check)))
		return -1;
	__u16 pseudo =
		pseudo_sum_of(&sending->from.source, &sending->from.destination, sending->from.protocol, end - l4);
	*sum = (__u32)folded(headers) + (is_undone(check, rest, pseudo) ? (__u16)~pseudo : folded(rest));
	return 0;
}

/* What is cut leaves with its checksum of layer 4: in no fragment could anybody compute it later. */
__noinline int finish_checksum(struct __sk_buff *skb, struct sending *sending)
{
	if (!sending)
		return false;
	__u32 moved = changes_family(sending) ? FAMILY_DIFFERENCE : 0, rest = 0;
	__u32 check_at = check_offset(sending), length = sending->length + sizeof(struct ethhdr) - sending->l4_offset;
	__u16 check = 0;
	if (!check_at || sending->fragment)
		return true;
	if (bpf_skb_load_bytes(skb, check_at + moved, &check, sizeof(check)) ||
	    add_bytes(skb, sending->l4_offset + moved, sending->l4_offset + moved + length, &rest))
		return false;
	__u16 pseudo = pseudo_sum_of(&sending->to.source, &sending->to.destination, sending->from.protocol, length);
	if (!is_undone(check, rest, pseudo))
		return true;
	check = ~folded(rest);
	if (!check && sending->from.protocol == IPPROTO_UDP)
		check = 0xffff;
	return !bpf_skb_store_bytes(skb, check_at + moved, &check, sizeof(check), 0);
}

static __always_inline __u16 complemented(__u64 sum)
{
	sum = (sum & 0xffffffff) + (sum >> 32);
	sum = (sum & 0xffff) + (sum >> 16);
	return ~folded(sum);
}

static __always_inline void finish_gre(struct grehdr *gre, __u32 sum)
{
	__be32 *check = (__be32 *)(gre + 1);
	*check = 0;
	*(__u16 *)check = complemented((__u64)bpf_csum_diff(NULL, 0, (__be32 *)gre, sizeof(*gre), 0) + sum);
}

static __always_inline void finish_gue(struct udphdr *udp, const struct server *server, const struct sending *sending,
				       __u32 sum)
{
	__u16 length = sending->inner.length + tunnel_header(&sending->inner.tunnel);
	__u64 all = (__u64)bpf_csum_diff(NULL, 0, (__be32 *)udp, sizeof(*udp) + sizeof(struct guehdr), 0) + sum +
		    pseudo_sum_of(&server->source, &server->address, IPPROTO_UDP, length);
	__u16 check = complemented(all);
	udp->check = check ? check : 0xffff;
}

static __always_inline void fill_tunnel(void *header, const struct server *server, const struct sending *sending,
					__u32 sum)
{
	const struct inner *inner = &sending->inner;
	bool checksum = inner->tunnel.checksum != TUNNEL_NOCSUM;
	if (inner->tunnel.type == TUNNEL_GUE) {
		fill_gue(header, header + sizeof(struct udphdr), inner);
		if (checksum)
			finish_gue(header, server, sending, sum);
	} else if (inner->tunnel.type == TUNNEL_GRE) {
		fill_gre(header, inner);
		if (checksum)
			finish_gre(header, sum);
	}
}

/*
 * What the kernel is going to segment goes without an outer checksum: it would be the same in each of the segments, and right in
 * none.
 */
__noinline int encapsulate_tc(struct __sk_buff *skb, struct sending *sending)
{
	struct server *server = sending ? server_at(sending->server) : NULL;
	if (!server)
		return false;
	bool ipv4 = is_ipv4(&server->address);
	__u32 sum = 0;
	if (sending->segmented)
		sending->inner.tunnel.checksum = TUNNEL_NOCSUM;
	if (sending->cut && !finish_checksum(skb, sending))
		return false;
	if (sending->inner.tunnel.checksum != TUNNEL_NOCSUM && sum_inner(skb, sending, &sum))
		return false;
	__u32 added = outer_length(server, &sending->inner.tunnel);
	struct outer *outer = &sending->outer;
	__builtin_memset(outer, 0, sizeof(*outer));
	if (bpf_skb_adjust_room(skb, added, BPF_ADJ_ROOM_MAC, room_flags(server, sending)))
		return false;
	__be16 kind = ipv4 ? bpf_htons(ETH_P_IP) : bpf_htons(ETH_P_IPV6);
	if (bpf_skb_store_bytes(skb, offsetof(struct ethhdr, h_proto), &kind, sizeof(kind), 0))
		return false;
	if (ipv4) {
		fill_outer_ipv4((struct iphdr *)outer->bytes, server, &sending->inner);
		fill_tunnel(outer->bytes + sizeof(struct iphdr), server, sending, sum);
	} else {
		fill_outer_ipv6((struct ipv6hdr *)outer->bytes, server, &sending->inner);
		fill_tunnel(outer->bytes + sizeof(struct ipv6hdr), server, sending, sum);
	}
	if (added < sizeof(struct iphdr) || added > sizeof(*outer))
		return false;
	return !bpf_skb_store_bytes(skb, sizeof(struct ethhdr), outer->bytes, added, 0);
}
