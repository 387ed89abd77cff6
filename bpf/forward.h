/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* How a packet leaves: the next hop, and the bytes that change on the way. Each hook has its own way of changing them. */
#pragma once

#include "decide.h"

#define MAC_MASK ((1ULL << 48) - 1)

/* What changes of a packet's addresses and ports; an address that stays is null. The others lie in a map. */
struct rewriting {
	const struct address *source;
	const struct address *destination;
	__u32 ports;
};

/* FULLNAT: a request comes from the local address and port that its connection was given. */
static __always_inline void from_local_address(const struct connection *connection, struct rewriting *to)
{
	__u32 link = connection ? connection->link : 0;
	__u32 number = link >> 16;
	to->source = bpf_map_lookup_elem(&locals, &number);
	to->ports = join_ports((__be16)link, to->ports >> 16);
}

/* The destination of a request becomes the server; the source of a reply becomes the service. FULLNAT changes both. */
static __always_inline struct rewriting rewriting_of(__u32 ports, const struct decision *decision, __u32 method,
						     enum verdict verdict)
{
	const struct server *server = decision->server;
	const struct connection *owner = decision->owner;
	struct rewriting to = {.ports = ports};
	if (!rewrites(method))
		return to;
	if (verdict == VERDICT_REQUEST) {
		to.destination = &server->address;
		to.ports = join_ports((__be16)ports, real_port(server, ports >> 16));
		if (method == METHOD_FULLNAT)
			from_local_address(decision->connection, &to);
	} else if (owner) {
		to.source = &owner->destination;
		to.destination = &owner->source;
		to.ports = join_ports(owner->destination_port, owner->source_port);
	} else {
		to.source = &server->service_key.vip;
		to.ports = join_ports(server->service_key.port, ports >> 16);
	}
	return to;
}

static __always_inline __u64 mac_to_u64(const __u8 *mac)
{
	return *(const __u16 *)mac | (__u64) * (const __u16 *)(mac + 2) << 16 |
	       (__u64) * (const __u16 *)(mac + 4) << 32;
}

static __always_inline __u32 next_hop_interface(__u64 destination_mac, __u64 source_mac)
{
	return destination_mac >> 48 | source_mac >> 48 << 16;
}

/* The neighbour that a route look-up gave; it may be of another family than the packet. */
static __always_inline struct address gateway_of(const struct bpf_fib_lookup *fib)
{
	return fib->family == AF_INET ? ipv4_address(fib->ipv4_dst) : ipv6_address(fib->ipv6_dst);
}

static __always_inline void remember_next_hop(struct server *server, const struct bpf_fib_lookup *fib, __u32 now)
{
	struct next_hop *hop = &server->next_hop;
	WRITE_ONCE(hop->destination_mac, mac_to_u64(fib->dmac) | (__u64)fib->ifindex << 48);
	WRITE_ONCE(hop->source_mac, mac_to_u64(fib->smac) | (__u64)(fib->ifindex >> 16) << 48);
	WRITE_ONCE(hop->mtu, fib->tot_len);
	server->gateway = gateway_of(fib);
	WRITE_ONCE(hop->good_until, now + TICKS_A_SECOND);
}

static __always_inline bool remembers(const struct next_hop *hop)
{
	return !due(READ_ONCE(hop->good_until), now_in_ticks());
}

/*
 * Ask for the way out: of a request to its server, as IPVS does by the server's address alone (what is found is remembered for
 * every client), or of a reply to its client, from the service's address.
 */
static __always_inline long look_up_route(void *ctx, struct bpf_fib_lookup *fib, const struct address *source,
					  const struct address *destination, __u32 interface)
{
	fib->ifindex = interface;
	if (is_ipv4(destination)) {
		fib->family = AF_INET;
		fib->ipv4_src = source ? source->word[3] : 0;
		fib->ipv4_dst = destination->word[3];
	} else {
		fib->family = AF_INET6;
		if (source)
			__builtin_memcpy(fib->ipv6_src, source->word, sizeof(fib->ipv6_src));
		__builtin_memcpy(fib->ipv6_dst, destination->word, sizeof(fib->ipv6_dst));
	}
	return bpf_fib_lookup(ctx, fib, sizeof(*fib), 0);
}

/* The header's checksum after the TTL went down by one (RFC 1624). */
static __always_inline void decrement_ttl(struct iphdr *ip)
{
	__u32 check = ip->check + bpf_htons(0x0100);
	ip->check = check + (check >= 0xffff);
	ip->ttl--;
}
