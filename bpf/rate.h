/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * How much there is per second, of each service and real server, with the numbers that the kernel's IPVS has: every two seconds a
 * rate goes a quarter of the way to what was counted in them. A sixteenth of all is looked at in every tick.
 */
#pragma once

#include "connection.h"

enum {
	ESTIMATE_TICKS = 2 * TICKS_A_SECOND,
	MOST_CPUS = 4096,
	/* What is counted in two seconds, as a rate in the units of `struct rate` */
	COUNT_SHIFT = RATE_COUNT_SHIFT - 1,
	BYTE_SHIFT = RATE_BYTE_SHIFT - 1,
	GAIN_SHIFT = 2, /* a quarter */
};

struct estimating {
	__u32 first;
	__u32 index;
	bool of_servers;
	struct statistics total;
};

static long add_cpu(__u32 cpu, struct estimating *context)
{
	__u32 index = context->index;
	struct statistics *one = context->of_servers ? bpf_map_lookup_percpu_elem(&server_statistics, &index, cpu)
						     : bpf_map_lookup_percpu_elem(&service_statistics, &index, cpu);
	if (!one)
		return 1;
	context->total.connections += READ_ONCE(one->connections);
	context->total.in_packets += READ_ONCE(one->in_packets);
	context->total.out_packets += READ_ONCE(one->out_packets);
	context->total.in_bytes += READ_ONCE(one->in_bytes);
	context->total.out_bytes += READ_ONCE(one->out_bytes);
	return 0;
}

static __always_inline void approach(__u64 *rate, __u64 counted, __u32 shift)
{
	__s64 before = READ_ONCE(*rate);
	WRITE_ONCE(*rate, before + ((__s64)((counted << shift) - before) >> GAIN_SHIFT));
}

static long estimate(__u32 i, struct estimating *context)
{
	context->index = context->first + i * ESTIMATE_TICKS;
	__u32 index = context->index;
	struct rate *rate = context->of_servers ? bpf_map_lookup_elem(&server_rates, &index)
						: bpf_map_lookup_elem(&service_rates, &index);
	if (!rate)
		return 1;
	context->total = (struct statistics){};
	bpf_loop(MOST_CPUS, add_cpu, context, 0);
	approach(&rate->rate.connections, context->total.connections - rate->last.connections, COUNT_SHIFT);
	approach(&rate->rate.in_packets, context->total.in_packets - rate->last.in_packets, COUNT_SHIFT);
	approach(&rate->rate.out_packets, context->total.out_packets - rate->last.out_packets, COUNT_SHIFT);
	approach(&rate->rate.in_bytes, context->total.in_bytes - rate->last.in_bytes, BYTE_SHIFT);
	approach(&rate->rate.out_bytes, context->total.out_bytes - rate->last.out_bytes, BYTE_SHIFT);
	rate->last = context->total;
	return 0;
}

static __always_inline void estimate_some(__u32 part, __u32 used, bool of_servers)
{
	struct estimating context = {.first = part, .of_servers = of_servers};
	if (used > part)
		bpf_loop((used - part + ESTIMATE_TICKS - 1) / ESTIMATE_TICKS, estimate, &context, 0);
}

/* By itself, so that it is verified once. */
__noinline int estimate_part(__u32 part)
{
	struct settings *setting = all_settings();
	if (!setting || !READ_ONCE(setting->knob[KNOB_RUN_ESTIMATION]))
		return 0;
	estimate_some(part, READ_ONCE(setting->services_used), false);
	estimate_some(part, READ_ONCE(setting->servers_used), true);
	return 0;
}
