/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * No slot is left where a tuple may be: who has to go? First connections that nobody has answered, then those that are closing,
 * then UDP's; of equals the one nearest to its end. One that is established never goes: no flood of first packets, from however
 * many addresses, ends a connection that works.
 *
 * A program on another CPU may still be reading the slot, so it rests before it is used again: not for a round of the sweep, as
 * others do, but for two of its ticks, between which there are 125 ms. So that a new connection finds one that has rested, one
 * is evicted before it is needed: when a connection had to go to the last of the places where it may be.
 */
#pragma once

#include "event.h"

enum {
	NOBODY = ~0U,
	REST_TICKS = 2,
	MOST_RESTING = 16, /* of the slots where a tuple may be: a burst does not end all that is new there */
	LAST_PROBES = 2,
	MORE = 4,
};

struct victim {
	struct place place;
	__u32 spared; /* index of the newcomer's slot */
	__u32 now;
	__u32 sweeps;
	__u32 resting;
	__u32 rested; /* index + 1 of a slot, 0 for none */
	__u32 slot;   /* index + 1, 0 for none */
	__u64 rested_control;
	__u64 worth;
};

enum worth { WORTH_NOTHING, WORTH_LITTLE, WORTH_SOME, WORTH_TOO_MUCH };

static __always_inline enum worth worth_of(__u64 control)
{
	__u32 state = state_of(control);
	if (phase_of(control) != PHASE_LIVE || control & TEMPLATE || state == STATE_ESTABLISHED ||
	    state == STATE_SCTP_ESTABLISHED)
		return WORTH_TOO_MUCH;
	if (is_embryonic(state))
		return WORTH_NOTHING;
	return state == STATE_UDP ? WORTH_SOME : WORTH_LITTLE;
}

/* One of two sides that does not know the other yet: its maker is going to write to it. */
static __always_inline bool is_being_made(const struct connection *connection, __u64 control)
{
	__u32 method = method_of(control);
	return (method == METHOD_NAT || method == METHOD_FULLNAT) && !READ_ONCE(connection->peer);
}

/* In a resting slot `deadline` says when its rest began. A late packet's deadline makes that longer, never shorter. */
static __always_inline void look_at_rest(const struct connection *connection, __u32 index, __u64 control,
					 struct victim *victim)
{
	if (!due(READ_ONCE(connection->deadline) + REST_TICKS, victim->sweeps)) {
		victim->resting++;
		return;
	}
	victim->rested = index + 1;
	victim->rested_control = control;
}

static long compare_worth(__u32 i, struct victim *victim)
{
	__u32 index = bucket_at(&victim->place, i / SLOTS) * SLOTS + i % SLOTS;
	struct connection *connection = slot_at(index);
	if (!connection)
		return 1;
	__u64 control = READ_ONCE(connection->control);
	if (control & RESTING && phase_of(control) == PHASE_DEAD) {
		look_at_rest(connection, index, control, victim);
		return 0;
	}
	bool spared = index == victim->spared || is_being_made(connection, control);
	enum worth worth = spared ? WORTH_TOO_MUCH : worth_of(control);
	__s32 left = READ_ONCE(connection->deadline) - victim->now;
	__u64 whole = (__u64)worth << 32 | (left > 0 ? left : 0);
	if (worth == WORTH_TOO_MUCH || (victim->slot && whole >= victim->worth))
		return 0;
	victim->slot = index + 1;
	victim->worth = whole;
	return 0;
}

static __always_inline void begin_rest(struct connection *connection, __u32 sweeps)
{
	__u64 control = READ_ONCE(connection->control);
	if (phase_of(control) != PHASE_DEAD)
		return;
	WRITE_ONCE(connection->deadline, sweeps);
	swap_control(connection, control, control | RESTING);
}

/* A template that was made for nothing goes with the last of its connections; the sweep frees its slot. */
static __always_inline void end_unassured(__u32 template)
{
	struct connection *held = template ? slot_at(template - 1) : NULL;
	if (!held)
		return;
	__u64 control = READ_ONCE(held->control);
	if (control & TEMPLATE && !(control & ASSURED) && !READ_ONCE(held->link))
		end_connection(held, template - 1, control);
}

static __always_inline void evict(const struct victim *victim)
{
	struct connection *found = victim->slot ? slot_at(victim->slot - 1) : NULL;
	if (!found)
		return;
	bool answer = side_of(READ_ONCE(found->control)) == SIDE_SERVER;
	__u32 owner_index = answer ? READ_ONCE(found->peer) - 1 : victim->slot - 1;
	struct connection *owner = slot_at(owner_index);
	if (!owner)
		return;
	__u64 control = READ_ONCE(owner->control);
	struct connection *peer = peer_of(owner);
	if (worth_of(control) == WORTH_TOO_MUCH || side_of(control) != SIDE_CLIENT || is_being_made(owner, control))
		return;
	__u32 template = template_of(owner, peer, control);
	if (!end_connection(owner, owner_index, control))
		return;
	tell(EVENT_EVICTED, owner);
	begin_rest(owner, victim->sweeps);
	if (peer)
		begin_rest(peer, victim->sweeps);
	end_unassured(template);
}

/* Of the slots where a tuple may be, free one that has rested, and evict one for those that come next. True if one is free. */
__noinline int make_room(const struct tuple *tuple, __u32 newcomer)
{
	struct settings *setting = all_settings();
	if (!tuple || !setting)
		return false;
	struct victim victim = {.place = place_of(tuple), .spared = newcomer, .now = READ_ONCE(setting->now)};
	victim.sweeps = READ_ONCE(setting->sweeps);
	bpf_loop(PROBES * SLOTS, compare_worth, &victim, 0);
	struct connection *rested = victim.rested ? slot_at(victim.rested - 1) : NULL;
	if (rested)
		free_slot(rested, victim.rested_control);
	if (victim.resting < MOST_RESTING)
		evict(&victim);
	return rested != NULL;
}

/* There was no room: then others that come will not find any either. True if there is now. */
__noinline int make_more_room(const struct tuple *tuple)
{
	bool made = false;
	for (__u32 i = 0; i < MORE; i++)
		made |= make_room(tuple, NOBODY);
	return made;
}

/* A new connection has a slot: was it one of the last that it could have had? */
__noinline int make_room_ahead(const struct tuple *tuple, __u32 index)
{
	struct connection *connection = slot_at(index);
	if (!tuple || !connection || likely(!(READ_ONCE(connection->control) & AWAY)))
		return false;
	struct place place = place_of(tuple);
	for (__u32 probe = PROBES - LAST_PROBES; probe < PROBES; probe++)
		if (index / SLOTS == bucket_at(&place, probe))
			return make_room(tuple, index);
	return false;
}
