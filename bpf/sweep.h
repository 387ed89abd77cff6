/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * One timer keeps the clock and ends connections: every tick it walks the next part of the table. A connection is marked on
 * the last round before its deadline and ended on the first one after it, unless a packet took the mark back. So nobody can
 * still be reading a slot when it is freed: that reader would have been reading for a whole round.
 */
#pragma once

#include "event.h"

enum { TEMPLATE_RETRY = 60 * TICKS_A_SECOND, DROP_ENTRY_SHARE = 32 };

static __always_inline void sweep_owner(struct connection *owner, __u32 index, __u64 control, __u32 now)
{
	__u32 deadline = READ_ONCE(owner->deadline);
	if (!due(deadline, now + SWEEP_TICKS)) {
		if (control & EXPIRING)
			swap_control(owner, control, control & ~EXPIRING);
		return;
	}
	struct connection *peer = peer_of(owner);
	if (peer && !due(READ_ONCE(peer->deadline), now + SWEEP_TICKS)) {
		if (peer->peer == index + 1 && phase_of(READ_ONCE(peer->control)) == PHASE_LIVE) {
			WRITE_ONCE(owner->deadline, READ_ONCE(peer->deadline));
			return;
		}
	}
	if (control & TEMPLATE && READ_ONCE(owner->link)) { /* the kernel, too, looks again after a minute */
		if (due(deadline, now))
			WRITE_ONCE(owner->deadline, now + TEMPLATE_RETRY);
		return;
	}
	if (!(control & EXPIRING)) {
		swap_control(owner, control, control | EXPIRING);
		return;
	}
	if (due(deadline, now) && !(peer && !due(READ_ONCE(peer->deadline), now)) &&
	    end_connection(owner, index, control))
		tell(EVENT_EXPIRED, owner);
}

/* A server side's slot ends with its owner; here only one whose owner is gone. */
static __always_inline void sweep_answer(struct connection *answer, __u32 index, __u64 control, __u32 now)
{
	if (!due(READ_ONCE(answer->deadline), now))
		return;
	struct connection *owner = peer_of(answer);
	if (owner && READ_ONCE(owner->peer) == index + 1 && phase_of(READ_ONCE(owner->control)) == PHASE_LIVE)
		return;
	swap_control(answer, control, with_phase(control, PHASE_DEAD));
}

struct sweep_context {
	__u32 first;
	__u32 now;
	__u32 live;
	bool drop_entries;
};

/* drop_entry: a thirty-second of the table each second loses what never got beyond its first packet. */
static __always_inline bool is_doomed(struct connection *connection, __u64 control)
{
	if (phase_of(control) != PHASE_LIVE || side_of(control) != SIDE_CLIENT)
		return false;
	if (control & TEMPLATE)
		return !(control & ASSURED) && !READ_ONCE(connection->link);
	return is_embryonic(state_of(control));
}

/* One slot in use. Verified by itself, and not once for each slot of a bucket. */
__noinline int sweep_slot(struct connection *connection, __u32 index, __u32 now, __u32 drop)
{
	if (!connection)
		return 0;
	__u64 control = READ_ONCE(connection->control);
	if (unlikely(drop) && is_doomed(connection, control)) {
		if (end_connection(connection, index, control))
			tell(EVENT_EVICTED, connection);
	} else if (phase_of(control) == PHASE_LIVE) {
		if (side_of(control) == SIDE_CLIENT)
			sweep_owner(connection, index, control, now);
		else
			sweep_answer(connection, index, control, now);
	} else if (phase_of(control) == PHASE_DEAD) {
		if (control & EXPIRING) /* dead for a whole round */
			free_slot(connection, control);
		else
			swap_control(connection, control, control | EXPIRING);
	}
	return 0;
}

static long sweep_bucket(__u32 i, struct sweep_context *context)
{
	__u32 index = context->first + i;
	struct bucket *bucket = bpf_map_lookup_elem(&connections, &index);
	if (!bucket)
		return 1;
	bool drop = context->drop_entries && bpf_get_prandom_u32() % DROP_ENTRY_SHARE == 0;
	for (__u32 slot = 0; slot < SLOTS; slot++) {
		if (phase_of(READ_ONCE(bucket->slot[slot].control)) == PHASE_FREE)
			continue;
		context->live++;
		sweep_slot(&bucket->slot[slot], index * SLOTS + slot, context->now, drop);
	}
	return 0;
}

/*
 * The kernel's three defences, whose modes mean: 0 never, 3 always, 1 and 2 by itself when memory runs short (then 1 becomes
 * 2, and 2 becomes 1 again). Here it is the table that runs short: when less than a quarter of it is free.
 */
static __always_inline bool is_up(struct settings *setting, enum knob which, bool short_of_room)
{
	__u32 mode = READ_ONCE(setting->knob[which]);
	if (mode == 1 || mode == 2)
		WRITE_ONCE(setting->knob[which], short_of_room ? 2 : 1);
	return mode == 3 || (mode && short_of_room);
}

static __always_inline void see_to_defences(struct settings *setting)
{
	__u32 slots = (table.bucket_mask + 1) * SLOTS, live = READ_ONCE(setting->live);
	__u32 scarce = slots / 4, left = live < slots ? slots - live : 0;
	bool short_of_room = left < scarce;
	__u32 defences = 0;
	if (is_up(setting, KNOB_DROP_ENTRY, short_of_room))
		defences |= DEFENCE_DROP_ENTRY;
	if (is_up(setting, KNOB_SECURE_TCP, short_of_room))
		defences |= DEFENCE_SECURE_TCP;
	if (is_up(setting, KNOB_DROP_PACKET, short_of_room)) {
		bool always = READ_ONCE(setting->knob[KNOB_DROP_PACKET]) == 3;
		WRITE_ONCE(setting->drop_rate, always ? setting->knob[KNOB_AM_DROPRATE] : scarce / (scarce - left));
		defences |= DEFENCE_DROP_PACKET;
	}
	WRITE_ONCE(setting->defences, defences);
}

static __always_inline void sweep_part(__u32 part, __u32 now)
{
	__u32 buckets = (table.bucket_mask + 1) / SWEEP_TICKS;
	struct settings *setting = all_settings();
	if (!setting)
		return;
	see_to_defences(setting);
	struct sweep_context context = {
		.first = part * buckets,
		.now = now,
		.drop_entries = setting->defences & DEFENCE_DROP_ENTRY,
	};
	bpf_loop(buckets, sweep_bucket, &context, 0);
	WRITE_ONCE(setting->sweeps, setting->sweeps + 1);
	setting->counting += context.live;
	if (part == SWEEP_TICKS - 1) {
		WRITE_ONCE(setting->live, setting->counting);
		setting->counting = 0;
	}
}

static __always_inline void start_sweep_timer(struct bpf_timer *timer)
{
	bpf_timer_start(timer, TICK_NS, 0);
}

static int on_tick(void *map __unused, __u32 *key __unused, struct sweep *sweep)
{
	__u32 zero = 0;
	struct settings *setting = bpf_map_lookup_elem(&settings, &zero);
	if (!setting)
		return 0;
	if (!setting->clock_stopped) {
		__u32 now = bpf_ktime_get_ns() / TICK_NS;
		WRITE_ONCE(setting->now, now);
		sweep_part(setting->sweeps % SWEEP_TICKS, now);
	}
	start_sweep_timer(&sweep->timer);
	return 0;
}
