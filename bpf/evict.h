/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * No slot is left where a tuple may be: who has to go? First connections that nobody has answered, then those that are closing,
 * then UDP's; of equals the one nearest to its end. One that is established never goes: no flood of first packets, from however
 * many addresses, ends a connection that works.
 */
#pragma once

#include "event.h"

struct victim {
	struct place place;
	__u32 now;
	__u32 slot; /* index + 1, 0 for none */
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

static long compare_worth(__u32 i, struct victim *victim)
{
	__u32 index = bucket_at(&victim->place, i / SLOTS) * SLOTS + i % SLOTS;
	struct connection *connection = slot_at(index);
	if (!connection)
		return 1;
	__u64 control = READ_ONCE(connection->control);
	enum worth worth = is_being_made(connection, control) ? WORTH_TOO_MUCH : worth_of(control);
	__s32 left = READ_ONCE(connection->deadline) - victim->now;
	__u64 whole = (__u64)worth << 32 | (left > 0 ? left : 0);
	if (worth == WORTH_TOO_MUCH || (victim->slot && whole >= victim->worth))
		return 0;
	victim->slot = index + 1;
	victim->worth = whole;
	return 0;
}

static __always_inline void free_at_once(struct connection *connection)
{
	__u64 control = READ_ONCE(connection->control);
	if (phase_of(control) == PHASE_DEAD)
		free_slot(connection, control);
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

/*
 * Free a slot where a tuple may be. Elsewhere a slot rests for a round of the sweep before it is used again, so that no program
 * can still be reading it. Here it does not: what a late reader takes from it is one packet of a connection that is not to live.
 */
__noinline int make_room(const struct tuple *tuple)
{
	if (!tuple)
		return false;
	struct victim victim = {.place = place_of(tuple), .now = now_in_ticks()};
	bpf_loop(PROBES * SLOTS, compare_worth, &victim, 0);
	struct connection *found = victim.slot ? slot_at(victim.slot - 1) : NULL;
	if (!found)
		return false;
	bool answer = side_of(READ_ONCE(found->control)) == SIDE_SERVER;
	__u32 owner_index = answer ? READ_ONCE(found->peer) - 1 : victim.slot - 1;
	struct connection *owner = slot_at(owner_index);
	if (!owner)
		return false;
	__u64 control = READ_ONCE(owner->control);
	struct connection *peer = peer_of(owner);
	if (worth_of(control) == WORTH_TOO_MUCH || side_of(control) != SIDE_CLIENT || is_being_made(owner, control))
		return false;
	__u32 template = template_of(owner, peer, control);
	if (!end_connection(owner, owner_index, control))
		return false;
	tell(EVENT_EVICTED, owner);
	free_at_once(owner);
	if (peer)
		free_at_once(peer);
	end_unassured(template);
	return true;
}
