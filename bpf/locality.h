/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * A destination stays with the server that it had (lblc), or with the least loaded of several (lblcr), for what that one has in its
 * cache; until it is busy while another is nearly idle. For directors in front of caching proxies.
 *
 * Two CPUs that change one destination's servers at once may forget one of their changes: the next connection makes it again.
 */
#pragma once

#include "load.h"

enum { FORGET_TICKS = 1800 * TICKS_A_SECOND }; /* so often the kernel looks for destinations unused for long */

static __always_inline __s64 expiration(const struct service *service)
{
	__s32 seconds = knob(service->selection == SELECT_LOCALITY ? KNOB_LBLC_EXPIRATION : KNOB_LBLCR_EXPIRATION);
	return (__s64)seconds * TICKS_A_SECOND;
}

/* It had been unused for too long when the kernel, which began when the scheduler was set, would have looked last. */
static __always_inline bool is_forgotten(const struct affinity *known, const struct service *service, __u32 now)
{
	__u32 age = now - service->scheduled_from;
	__s64 unused = (__u32)(now - known->used_at);
	return age >= FORGET_TICKS && unused - age % FORGET_TICKS >= expiration(service);
}

/* Of a destination's servers the least loaded that may be chosen, the one that came last first. */
static __always_inline void compare_known(const struct affinity *known, __u32 service_number, struct candidate *best)
{
	for (__u32 i = SERVERS_OF_DESTINATION; i-- > 0;) {
		if (i >= known->size)
			continue;
		__u32 index = known->server[i];
		const struct server *server = server_at(index);
		if (server && READ_ONCE(server->weight) && may_be_chosen(server) && server->service == service_number)
			compare(best, index, load_measure(READ_ONCE(server->load)), server->weight);
	}
}

/* Which of a destination's servers has the most load; the best is its number + 1. (In a map: the verifier is not to follow it.) */
static __always_inline void find_most_loaded(const struct affinity *known, struct candidate *most)
{
	for (__u32 i = SERVERS_OF_DESTINATION; i-- > 0;) {
		if (i >= known->size)
			continue;
		const struct server *server = server_at(known->server[i]);
		__u64 weight = server ? READ_ONCE(server->weight) : 0;
		if (!server || !weight)
			continue;
		__u64 load = load_measure(READ_ONCE(server->load));
		if (most->server && most->load * weight >= load * most->weight)
			continue;
		*most = (struct candidate){i + 1, load, weight};
	}
}

/* Several servers that nobody was added to for long become one less. */
__noinline int let_go(struct affinity *known, __u32 now)
{
	struct choice *choice = own_choice();
	if (!known || !choice)
		return 0;
	struct candidate *most = &choice->drawn[0];
	most->server = 0;
	find_most_loaded(known, most);
	if (!most->server)
		return 0;
	for (__u32 i = 0; i < SERVERS_OF_DESTINATION - 1; i++)
		if (i + 1 >= most->server)
			known->server[i] = known->server[i + 1];
	known->size--;
	known->changed_at = now;
	return 0;
}

/* The index + 1 of the server that a destination has, 0 where it may not be chosen. For lblc thresholds don't matter here. */
__noinline int recall(struct affinity *known, __u32 service_number, __u32 now)
{
	struct service *service = service_at(service_number);
	struct choice *choice = own_choice();
	if (!known || !service || !choice || !known->size)
		return 0;
	if (service->selection == SELECT_LOCALITY) {
		const struct server *server = server_at(known->server[0]);
		return server && server->weight && is_one_of(known->server[0], service_number) ? known->server[0] + 1
											       : 0;
	}
	choice->best.server = 0;
	compare_known(known, service_number, &choice->best);
	if (known->size > 1 && (__u32)(now - known->changed_at) > expiration(service))
		let_go(known, now);
	return choice->best.server;
}

/* It has more active connections than it weighs, while another has not half as many. */
static __always_inline bool is_busy(__u32 index, __u32 service_number)
{
	const struct server *server = server_at(index);
	return server && READ_ONCE(server->load) >> 32 > server->weight && select_least(service_number, LOOK_FOR_IDLE);
}

static __always_inline void add_server(struct affinity *known, __u32 index, __u32 now)
{
	for (__u32 i = 0; i < SERVERS_OF_DESTINATION; i++) {
		if (i >= known->size) {
			known->server[i] = index;
			known->size = i + 1;
			known->changed_at = now;
			return;
		}
		if (known->server[i] == index)
			return;
	}
}

/* `known` is null for a destination that is new. */
__noinline int remember(struct affinity *known, __u32 several, __u32 index, __u32 now)
{
	struct choice *choice = own_choice();
	if (!choice)
		return 0;
	if (known && several) {
		add_server(known, index, now);
	} else if (known) {
		known->server[0] = index;
		known->size = 1;
	} else {
		choice->affinity.used_at = choice->affinity.changed_at = now;
		choice->affinity.size = 1;
		choice->affinity.server[0] = index;
		bpf_map_update_elem(&destinations, &choice->destination, &choice->affinity, BPF_ANY);
	}
	return 0;
}

__noinline int select_locality(const struct tuple *tuple, __u32 service_number)
{
	struct service *service = service_at(service_number);
	struct choice *choice = own_choice();
	if (!tuple || !service || !choice)
		return 0;
	__u32 now = now_in_ticks();
	choice->destination.address = tuple->destination;
	choice->destination.memory = service->memory;
	struct affinity *known = bpf_map_lookup_elem(&destinations, &choice->destination);
	if (known) {
		if (is_forgotten(known, service, now))
			known->size = 0;
		known->used_at = now;
		int had = recall(known, service_number, now);
		if (had && !is_busy(had - 1, service_number))
			return had;
	}
	int chosen = select_least(service_number, SELECT_WEIGHTED_LEAST);
	if (chosen)
		remember(known, service->selection == SELECT_LOCALITY_SET, chosen - 1, now);
	return chosen;
}
