/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The way back to a client, for the answers of NAT and FULLNAT. Asking the routing table costs more than all else that an answer
 * takes, so what it said is remembered for a second: by each CPU for itself, so that nobody reads half of what another writes.
 */
#pragma once

#include "in_place.h"

enum { CLIENT_WAY_BITS = 11 };

struct client_way {
	struct address client;
	struct address source; /* the service's address: routes may depend on it */
	__u64 destination_mac; /* both as in `struct next_hop` */
	__u64 source_mac;
	__u32 incoming; /* interface */
	__u32 mtu;
	__u32 good_until;
	__u32 probed_until; /* until then a packet has gone through the kernel's neighbour table, which probes it */
};
_Static_assert(sizeof(struct client_way) == 64, "a cache line");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1 << CLIENT_WAY_BITS);
	__type(key, __u32);
	__type(value, struct client_way);
} client_ways SEC(".maps");

/* Where the way to a client is, if it is there at all: another client's may be there. */
static __always_inline struct client_way *client_way_of(const struct address *client)
{
	__u32 index = (client->half[0] ^ client->half[1]) * 0x9e3779b97f4a7c15 >> (64 - CLIENT_WAY_BITS);
	return bpf_map_lookup_elem(&client_ways, &index);
}

static __always_inline bool is_way_of(const struct client_way *known, const struct address *source,
				      const struct address *client, __u32 incoming)
{
	return same_address(&known->client, client) && same_address(&known->source, source) &&
	       known->incoming == incoming;
}

/* `probed`: from the kernel's neighbour table, by which this packet goes too. */
static __always_inline void remember_client(const struct address *source, const struct address *client, __u32 incoming,
					    const struct bpf_fib_lookup *fib, bool probed)
{
	struct client_way *known = client_way_of(client);
	if (!known)
		return;
	__u32 now = now_in_ticks();
	if (probed || !is_way_of(known, source, client, incoming))
		known->probed_until = probed ? now + TICKS_A_SECOND : now;
	known->client = *client;
	known->source = *source;
	known->destination_mac = mac_to_u64(fib->dmac) | (__u64)fib->ifindex << 48;
	known->source_mac = mac_to_u64(fib->smac) | (__u64)(fib->ifindex >> 16) << 48;
	known->incoming = incoming;
	known->mtu = fib->tot_len;
	known->good_until = now + TICKS_A_SECOND;
}

/* Whom an answer goes to. */
static __always_inline struct address client_of(const struct packet *packet, const struct rewriting *to)
{
	if (to->destination)
		return *to->destination;
	return packet->tuple.destination;
}

static __always_inline bool remembered_way_to_client(const struct address *source, const struct address *client,
						     __u32 incoming, __u32 length, bool probed, struct way *way)
{
	const struct client_way *known = client_way_of(client);
	if (!known || !is_way_of(known, source, client, incoming) || length > known->mtu)
		return false;
	if (due(probed ? known->probed_until : known->good_until, now_in_ticks()))
		return false;
	go_by(way, known->destination_mac, known->source_mac);
	return true;
}
