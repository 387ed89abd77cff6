/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Each turn of the ring after the other: rr, wrr. Quiesced servers have no turns. */
#pragma once

#include "ring.h"

struct turning {
	void *ring;
	struct service *service;
	__u32 turns;
	__u32 start;
	__u32 server; /* index + 1 */
};

static __always_inline long take_turn(struct turning *turning)
{
	__u64 turn = __sync_fetch_and_add(&turning->service->turns_taken, 1) + turning->start;
	__u32 index = server_of_turn(turning->ring, turn % turning->turns);
	struct server *server = server_at(index);
	if (server && may_be_chosen(server))
		turning->server = index + 1;
	return turning->server != 0;
}

static long take_next_turn(__u32 turn __unused, struct turning *turning)
{
	return turning->turns ? take_turn(turning) : 1;
}

/* wrr's walk through the weights begins again when all are overloaded, unless it was on the lowest level already. */
static __always_inline void begin_again(const struct turning *turning, __u32 last_lap)
{
	__u32 next = (READ_ONCE(turning->service->turns_taken) + turning->start) % turning->turns;
	if (next && next <= last_lap)
		__sync_fetch_and_add(&turning->service->turns_taken, turning->turns - next);
}

__noinline int select_turn(__u32 service_number)
{
	void *ring = ring_of(service_number);
	const struct ring_part *first = ring ? ring_part(ring, 0) : NULL;
	struct turning turning = {.ring = ring, .service = service_at(service_number)};
	if (!first || !turning.service || !first->word[0])
		return 0;
	turning.turns = first->word[0];
	turning.start = first->word[1];
	if (take_turn(&turning))
		return turning.server;
	/* once round at most, so that a search in vain ends where it began */
	bpf_loop(turning.turns - 1, take_next_turn, &turning, 0);
	if (!turning.server)
		begin_again(&turning, first->word[2]);
	return turning.server;
}
