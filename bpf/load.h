/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* All servers of the ring are compared: by their loads, their weights, or both. */
#pragma once

#include "ring.h"

/* What else the servers are gone through for. */
enum looking_for {
	LOOK_FOR_IDLE = 0x100, /* one with less than half as many active connections as it weighs */
	LOOK_FOR_SUM,	       /* of the weights */
	LOOK_FOR_DRAWN,	       /* whose share of that sum the draws fall into */
};

struct candidate {
	__u32 server; /* index + 1 */
	__u64 load;
	__u64 weight;
};

/* What one choice needs; it lies in a map, because the stack has no room for it. */
struct choice {
	__u32 selection; /* or `enum looking_for` */
	struct candidate best;
	__u64 sum;
	__s64 draw[2];
	struct candidate drawn[2];
	struct destination destination;
	struct affinity affinity;
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct choice);
} choices SEC(".maps");

static __always_inline struct choice *own_choice(void)
{
	__u32 zero = 0;
	return bpf_map_lookup_elem(&choices, &zero);
}

/* The kernel's measure: an active connection weighs as much as 256 inactive ones. */
static __always_inline __u64 load_measure(__u64 load)
{
	return (load >> 32) * 256 + (__u32)load;
}

/* Less than the best by its weight? The first of equals stays the best. */
static __always_inline void compare(struct candidate *best, __u32 index, __u64 load, __u64 weight)
{
	if (best->server && load * best->weight >= best->load * weight)
		return;
	best->server = index + 1;
	best->load = load;
	best->weight = weight;
}

/* True once both draws have found their server. */
static __always_inline bool find_drawn(struct choice *choice, __u32 index, __u64 load, __u64 weight)
{
	for (int i = 0; i < 2; i++) {
		choice->draw[i] -= weight;
		if (choice->draw[i] <= 0 && !choice->drawn[i].server)
			choice->drawn[i] = (struct candidate){index + 1, load_measure(load), weight};
	}
	return choice->drawn[0].server && choice->drawn[1].server;
}

/* True when there is no need to look further. Verified by itself, and not once for each server of a part. */
__noinline int look_at(__u32 index, struct choice *choice)
{
	const struct server *server = server_at(index);
	__u64 weight = server ? READ_ONCE(server->weight) : 0;
	if (!choice || !server || !weight)
		return false;
	__u64 load = READ_ONCE(server->load), active = load >> 32;
	if (choice->selection == LOOK_FOR_IDLE) {
		choice->best.server = active * 2 < weight ? index + 1 : 0;
		return choice->best.server;
	}
	if (!may_be_chosen(server))
		return false;
	switch (choice->selection) {
	case SELECT_NEVER_QUEUE:
		if (!active)
			choice->best.server = 0;
		compare(&choice->best, index, active + 1, weight);
		return !active;
	case SELECT_SHORTEST_DELAY:
		compare(&choice->best, index, active + 1, weight);
		return false;
	case SELECT_HEAVIEST_NOT_FULL:
		if (active > weight)
			return false;
		compare(&choice->best, index, 1, weight);
		return false;
	case SELECT_HEAVIEST:
		compare(&choice->best, index, 1, weight);
		return false;
	case LOOK_FOR_SUM:
		choice->sum += weight;
		return false;
	case LOOK_FOR_DRAWN:
		return find_drawn(choice, index, load, weight);
	}
	return true;
}

/* lc and wlc, which most services have: without a call for each server. */
static __always_inline void weigh(__u32 index, struct choice *choice, bool weighted)
{
	const struct server *server = server_at(index);
	__u64 weight = server ? READ_ONCE(server->weight) : 0;
	if (weight && may_be_chosen(server))
		compare(&choice->best, index, load_measure(READ_ONCE(server->load)), weighted ? weight : 1);
}

struct looking {
	void *ring;
	__u32 turns;
};

static long weigh_part(__u32 number, struct looking *looking)
{
	const struct ring_part *part = ring_part(looking->ring, number);
	struct choice *choice = own_choice();
	if (!part || !choice)
		return 1;
	bool weighted = choice->selection == SELECT_WEIGHTED_LEAST;
	for (__u32 i = 0; i < RING_WORDS; i++) {
		__u32 turn = number * RING_WORDS + i - RING_HEADER; /* of the header's words: more than any */
		if (turn < looking->turns)
			weigh(part->word[i], choice, weighted);
	}
	return 0;
}

static long look_at_part(__u32 number, struct looking *looking)
{
	const struct ring_part *part = ring_part(looking->ring, number);
	struct choice *choice = own_choice();
	if (!part || !choice)
		return 1;
	for (__u32 i = 0; i < RING_WORDS; i++) {
		__u32 turn = number * RING_WORDS + i - RING_HEADER; /* of the header's words: more than any */
		if (turn < looking->turns && look_at(part->word[i], choice))
			return 1;
	}
	return 0;
}

/* The best of a service's servers, index + 1, or the first that is looked for. What else is found is in the choice. */
__noinline int select_least(__u32 service_number, __u32 selection)
{
	void *ring = ring_of(service_number);
	const struct ring_part *first = ring ? ring_part(ring, 0) : NULL;
	struct choice *choice = own_choice();
	if (!first || !choice)
		return 0;
	struct looking looking = {.ring = ring, .turns = first->word[0]};
	choice->selection = selection;
	choice->best.server = 0;
	__u32 parts = (RING_HEADER + looking.turns + RING_WORDS - 1) / RING_WORDS;
	if (selection == SELECT_LEAST || selection == SELECT_WEIGHTED_LEAST)
		bpf_loop(parts, weigh_part, &looking, 0);
	else
		bpf_loop(parts, look_at_part, &looking, 0);
	return choice->best.server;
}

/* Two servers by chance, in proportion to their weights; the second only if it is less loaded by its weight. */
__noinline int select_less_of_two(__u32 service_number)
{
	struct choice *choice = own_choice();
	if (!choice)
		return 0;
	choice->sum = 0;
	select_least(service_number, LOOK_FOR_SUM);
	for (int i = 0; i < 2; i++) {
		__u64 chance = (__u64)bpf_get_prandom_u32() << 32 | bpf_get_prandom_u32();
		choice->draw[i] = chance % (choice->sum + 1); /* inclusive, as the kernel draws */
		choice->drawn[i].server = 0;
	}
	select_least(service_number, LOOK_FOR_DRAWN);
	const struct candidate *first = &choice->drawn[0], *second = &choice->drawn[1];
	bool less = second->server && second->weight * first->load > first->weight * second->load;
	return less ? second->server : first->server;
}
