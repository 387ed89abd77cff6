/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Which real server gets a new connection. Python made the ring; here it is only read, and loads are compared. */
#pragma once

#include "maps.h"
#include "parse.h"

static __always_inline struct server *server_at(__u32 index)
{
	return bpf_map_lookup_elem(&servers, &index);
}

/* The service whose name is a firewall mark, as an address of the packet's family. */
static __always_inline __u32 *marked_service(const struct tuple *tuple, __u32 mark)
{
	struct service_key key = {.vip.word = {0, 0, tuple->destination.word[2], bpf_htonl(mark)}};
	return bpf_map_lookup_elem(&service_index, &key);
}

/* In the kernel's order: a mark comes first. */
static __always_inline struct service *service_of(const struct tuple *tuple, __u32 mark, __u32 *index)
{
	struct service_key key = {
		.vip = tuple->destination,
		.port = tuple->ports >> 16,
		.protocol = tuple->protocol,
	};
	__u32 *found = mark ? marked_service(tuple, mark) : NULL;
	if (!found)
		found = bpf_map_lookup_elem(&service_index, &key);
	if (!found)
		return NULL;
	*index = *found;
	return bpf_map_lookup_elem(&services, found);
}

static __always_inline __u32 *ring_word(void *ring, __u32 index)
{
	return bpf_map_lookup_elem(ring, &index);
}

struct least {
	void *ring;
	bool weighted;
	bool found;
	__u32 server;
	__u64 load;
	__u64 weight;
};

/* The kernel's measure: an active connection weighs as much as 256 inactive ones. */
static __always_inline __u64 load_measure(__u64 load)
{
	return (load >> 32) * 256 + (__u32)load;
}

static long compare_load(__u32 turn, struct least *least)
{
	__u32 *index = ring_word(least->ring, RING_HEADER + turn);
	struct server *server = index ? server_at(*index) : NULL;
	if (!server)
		return 1;
	__u64 load = load_measure(READ_ONCE(server->load));
	__u64 weight = least->weighted ? server->weight : 1;
	/* load / weight < least->load / least->weight: the first of equals stays */
	if (least->found && load * least->weight >= least->load * weight)
		return 0;
	least->found = true;
	least->server = *index;
	least->load = load;
	least->weight = weight;
	return 0;
}

static __always_inline bool select_least(void *ring, __u32 turns, bool weighted, __u32 *server)
{
	struct least least = {.ring = ring, .weighted = weighted};
	bpf_loop(turns, compare_load, &least, 0);
	*server = least.server;
	return least.found;
}

static __always_inline bool select_turn(void *ring, __u32 turns, struct service *service, __u32 *server)
{
	__u32 *start = ring_word(ring, 1);
	if (!start)
		return false;
	__u64 turn = __sync_fetch_and_add(&service->turns_taken, 1) + *start;
	__u32 *index = ring_word(ring, RING_HEADER + turn % turns);
	if (!index)
		return false;
	*server = *index;
	return true;
}

/* False when no server of the service may be chosen. */
static __always_inline bool schedule(struct service *service, __u32 service_number, __u32 *server)
{
	void *ring = bpf_map_lookup_elem(&rings, &service_number);
	__u32 *turns = ring ? ring_word(ring, 0) : NULL;
	if (!turns || !*turns)
		return false;
	switch (service->selection) {
	case SELECT_TURN:
		return select_turn(ring, *turns, service, server);
	case SELECT_LEAST:
		return select_least(ring, *turns, false, server);
	case SELECT_WEIGHTED_LEAST:
		return select_least(ring, *turns, true, server);
	}
	return false;
}
