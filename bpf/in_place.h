/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What both hooks change of a frame where it lies. Layer 4's checksum is left to the hook: on tc it may not be there yet. */
#pragma once

#include "outer.h"

struct way {
	__u64 destination_mac;
	__u64 source_mac;
	__u32 interface;
};

/* Both as in `struct next_hop`. */
static __always_inline void go_by(struct way *way, __u64 destination_mac, __u64 source_mac)
{
	way->destination_mac = destination_mac;
	way->source_mac = source_mac;
	way->interface = next_hop_interface(destination_mac, source_mac);
}

/*
 * A server's next hop is remembered for a second; then one packet goes up to tc, which sends it through the kernel's neighbour
 * table (so that the neighbour is probed as always) and remembers anew.
 */
static __always_inline bool way_to_server(const struct server *server, __u32 length, struct way *way)
{
	const struct next_hop *hop = &server->next_hop;
	if (!remembers(hop) || length > READ_ONCE(hop->mtu))
		return false;
	go_by(way, READ_ONCE(hop->destination_mac), READ_ONCE(hop->source_mac));
	return true;
}

static __always_inline __u16 checksum_plus(__u16 checksum, __u32 difference)
{
	return ~folded((__u16)~checksum + (difference & 0xffff) + (difference >> 16));
}

/* What replacing one 32-bit word does to a ones' complement sum, folded to less than 18 bits. */
static __always_inline __u32 difference_of(__be32 from, __be32 to)
{
	return (~from & 0xffff) + (~from >> 16) + (to & 0xffff) + (to >> 16);
}

static __always_inline __u32 write_ipv6_address(__be32 *words, const struct address *to)
{
	__u32 difference = 0;
#pragma unroll
	for (int i = 0; i < 4; i++) {
		difference += difference_of(words[i], to->word[i]);
		words[i] = to->word[i];
	}
	return difference;
}

static __always_inline __u32 write_ipv4_address(struct iphdr *ip, __be32 *address, __be32 to)
{
	__u32 difference = difference_of(*address, to);
	ip->check = checksum_plus(ip->check, difference);
	*address = to;
	return difference;
}

/* The addresses that change; what that does to a sum over them. */
static __always_inline __u32 write_addresses(struct frame *frame, const struct rewriting *to)
{
	__u32 difference = 0;
	if (frame->ip) {
		if (to->source)
			difference += write_ipv4_address(frame->ip, &frame->ip->saddr, to->source->word[3]);
		if (to->destination)
			difference += write_ipv4_address(frame->ip, &frame->ip->daddr, to->destination->word[3]);
	} else if (frame->ip6) {
		if (to->source)
			difference += write_ipv6_address(frame->ip6->saddr, to->source);
		if (to->destination)
			difference += write_ipv6_address(frame->ip6->daddr, to->destination);
	}
	return difference;
}

/* The same of the ports. */
static __always_inline __u32 write_ports(struct frame *frame, const struct rewriting *to)
{
	__u32 difference = difference_of(*(__u32 *)frame->ports, to->ports);
	*(__u32 *)frame->ports = to->ports;
	return difference;
}

static __always_inline void write_macs(struct ethhdr *eth, const struct way *way)
{
	*(__u64 *)eth = (way->destination_mac & MAC_MASK) | way->source_mac << 48;
	*(__u32 *)((void *)eth + 8) = way->source_mac >> 16;
}

static __always_inline void count_hop(struct frame *frame)
{
	if (frame->ip)
		decrement_ttl(frame->ip);
	else if (frame->ip6)
		frame->ip6->hop_limit--;
}
