/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * FULLNAT gives every connection a local address and port of its own, to which its server answers. That no two connections
 * have the same ones towards one server is what the connection table sees to anyway: the tuple of the answers is in it once.
 */
#pragma once

#include "opening.h"

enum { PORTS_TRIED = 256 };

/* What one look for a free port needs; it lies in a map, because the stack has no room for it. */
struct allocation {
	struct tuple answer;
	struct pool pool;
	__u32 seed;
	__u32 first_port;
	__u32 ports;
	__u32 link; /* found: see `struct connection` */
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct allocation);
} allocations SEC(".maps");

static __always_inline struct allocation *own_allocation(void)
{
	__u32 zero = 0;
	return bpf_map_lookup_elem(&allocations, &zero);
}

/* Turn by turn another address of the pool, then another port, from a place that depends on the client. */
static long try_port(__u32 turn, __u32 *found)
{
	struct allocation *allocation = own_allocation();
	__u32 size = allocation ? allocation->pool.size : 0;
	if (!allocation || !size || !allocation->ports)
		return 1;
	__u32 number = allocation->pool.local[(allocation->seed + turn) % size & LOCALS_OF_SERVER];
	struct address *local = bpf_map_lookup_elem(&locals, &number);
	if (!local)
		return 1;
	__u32 step = ((allocation->seed >> 8) + turn / size) % allocation->ports;
	__be16 port = bpf_htons(allocation->first_port + step);
	allocation->answer.destination = *local;
	allocation->answer.ports = join_ports((__be16)allocation->answer.ports, port);
	allocation->link = number << 16 | port;
	*found = !find_slot(&allocation->answer);
	return *found;
}

/* Fill in what to look for. False where there is nothing to look among. */
static __always_inline bool prepare_allocation(struct allocation *allocation, const struct tuple *tuple,
					       const struct server *server)
{
	struct settings *setting = all_settings();
	if (!setting)
		return false;
	__u32 first = setting->knob[KNOB_LOCAL_PORT_FIRST], last = setting->knob[KNOB_LOCAL_PORT_LAST];
	allocation->answer = answer_tuple(tuple, server);
	allocation->pool = server->pool;
	allocation->seed = place_of(tuple).hash;
	allocation->first_port = first;
	allocation->ports = first && first <= last ? last - first + 1 : 0;
	return allocation->ports && allocation->pool.size;
}

/* A free port is taken by inserting the tuple of the answers; when another CPU was faster, the search goes on. */
static __always_inline int take_port(struct allocation *allocation, struct created *created)
{
	__u32 index = 0, found = 0;
	bpf_loop(PORTS_TRIED, try_port, &found, 0);
	if (!found)
		return FOUND;
	struct entry entry = entry_of(created, SIDE_SERVER);
	entry.link = created->template;
	int result = insert_anyhow(&allocation->answer, &entry, &index);
	if (result == CLAIMED) {
		created->answer = index + 1;
		created->link = allocation->link;
	}
	return result;
}

/*
 * The answers' slot comes first: a client's slot that is live says what to write into its packets. Nothing has been sent yet, so
 * nothing answers before both know each other.
 */
__noinline int allocate(const struct tuple *tuple, struct created *created)
{
	struct server *server = created ? server_at(created->server - 1) : NULL;
	struct allocation *allocation = own_allocation();
	if (!tuple || !created || !server || !allocation)
		return VERDICT_PASS;
	int result = FOUND;
	if (prepare_allocation(allocation, tuple, server))
#pragma unroll
		for (int i = 0; i < 3; i++)
			result = result == FOUND ? take_port(allocation, created) : result;
	if (result == CLAIMED)
		return VERDICT_REQUEST;
	leave_template(created->template);
	return refuse(created, result == FULL ? DROP_TABLE_FULL : DROP_NO_LOCAL_PORT);
}
