/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The real server's maps. They live as long as a program that uses them is attached; nothing is pinned. */
#pragma once

#include "realserver.h"

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, REALSERVER_ADDRESSES);
	__type(key, struct address);
	__type(value, __u32);
} rs_addresses SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct realserver_settings);
} rs_settings SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, REALSERVER_COUNTERS);
	__type(key, __u32);
	__type(value, __u64);
} rs_counters SEC(".maps");

static __always_inline void count(__u32 what)
{
	__u64 *counter = bpf_map_lookup_elem(&rs_counters, &what);
	if (counter)
		++*counter;
}

static __always_inline bool is_a(const struct address *address, __u32 role)
{
	__u32 *roles = bpf_map_lookup_elem(&rs_addresses, address);
	return roles && *roles & role;
}
