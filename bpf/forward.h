/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* How a packet leaves: the next hop, and the bytes that change on the way. Each hook has its own way of changing them. */
#pragma once

#include "decide.h"

#define MAC_MASK ((1ULL << 48) - 1)

/* The destination of a request becomes the server; the source of a reply becomes the service. */
struct rewriting {
	__be32 address;
	__be16 port;
};

static __always_inline struct rewriting rewriting_of(const struct decision *decision, enum verdict verdict)
{
	const struct server *server = decision->server;
	struct connection *connection = decision->connection;
	if (verdict == VERDICT_REQUEST)
		return (struct rewriting){server->address.word[3],
					  port_at_server(server, connection->destination_port)};
	struct connection *owner = server->many_to_one ? peer_of(connection) : NULL;
	if (owner)
		return (struct rewriting){owner->destination.word[3], owner->destination_port};
	return (struct rewriting){server->service_key.vip.word[3], server->service_key.port};
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

static __always_inline void remember_next_hop(struct server *server, const struct bpf_fib_lookup *fib, __u32 now)
{
	struct next_hop *hop = &server->next_hop;
	WRITE_ONCE(hop->destination_mac, mac_to_u64(fib->dmac) | (__u64)fib->ifindex << 48);
	WRITE_ONCE(hop->source_mac, mac_to_u64(fib->smac) | (__u64)(fib->ifindex >> 16) << 48);
	WRITE_ONCE(hop->mtu, fib->tot_len);
	server->gateway = ipv4_address(fib->ipv4_dst);
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
static __always_inline long look_up_route(void *ctx, struct bpf_fib_lookup *fib, __be32 source, __be32 destination,
					  __u32 interface)
{
	fib->family = AF_INET;
	fib->ipv4_src = source;
	fib->ipv4_dst = destination;
	fib->ifindex = interface;
	return bpf_fib_lookup(ctx, fib, sizeof(*fib), 0);
}

/* The header's checksum after the TTL went down by one (RFC 1624). */
static __always_inline void decrement_ttl(struct iphdr *ip)
{
	__u32 check = ip->check + bpf_htons(0x0100);
	ip->check = check + (check >= 0xffff);
	ip->ttl--;
}
