/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * One timer keeps the clock and ends connections: every tick it walks the next part of the table. A connection is marked on
 * the last round before its deadline and ended on the first one after it, unless a packet took the mark back. So nobody can
 * still be reading a slot when it is freed: that reader would have been reading for a whole round.
 */
#pragma once

#include "event.h"

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

static __always_inline void sweep_slot(struct connection *connection, __u32 index, __u32 now)
{
	__u64 control = READ_ONCE(connection->control);
	if (phase_of(control) == PHASE_LIVE) {
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
}

struct sweep_context {
	__u32 first;
	__u32 now;
};

static long sweep_bucket(__u32 i, struct sweep_context *context)
{
	__u32 index = context->first + i;
	struct bucket *bucket = bpf_map_lookup_elem(&connections, &index);
	if (!bucket)
		return 1;
	for (__u32 slot = 0; slot < SLOTS; slot++)
		sweep_slot(&bucket->slot[slot], index * SLOTS + slot, context->now);
	return 0;
}

static __always_inline void sweep_part(__u32 part, __u32 now)
{
	__u32 buckets = (table.bucket_mask + 1) / SWEEP_TICKS;
	struct sweep_context context = {.first = part * buckets, .now = now};
	bpf_loop(buckets, sweep_bucket, &context, 0);
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
		sweep_part(setting->sweeps++ % SWEEP_TICKS, now);
	}
	start_sweep_timer(&sweep->timer);
	return 0;
}
