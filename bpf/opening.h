/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What all ways of opening a connection share. */
#pragma once

#include "evict.h"
#include "persist.h"

enum {
	RELATED_TICKS = 3 * TICKS_A_SECOND
}; /* as the kernel gives each connection at first; an ICMP error says no more of it */

static __always_inline bool rewrites(__u32 method)
{
	return method == METHOD_NAT || method == METHOD_FULLNAT;
}

static __always_inline struct tuple answer_tuple(const struct tuple *tuple, const struct server *server)
{
	return (struct tuple){
		.source = server->address,
		.destination = tuple->source,
		.ports = join_ports(real_port(server, tuple->ports >> 16), tuple->ports),
		.protocol = tuple->protocol,
	};
}

static __always_inline int insert_anyhow(const struct tuple *tuple, const struct entry *entry, __u32 *index)
{
	int result = insert(tuple, entry, index);
	if (result == CLAIMED)
		make_room_ahead(tuple, *index);
	else if (unlikely(result == FULL) && make_more_room(tuple))
		result = insert(tuple, entry, index);
	return result;
}

static __always_inline void count_connection(const struct server *server, __u32 server_index)
{
	struct statistics *statistics = bpf_map_lookup_elem(&server_statistics, &server_index);
	if (statistics)
		statistics->connections++;
	__u32 service_index = server->service;
	statistics = bpf_map_lookup_elem(&service_statistics, &service_index);
	if (statistics)
		statistics->connections++;
}

static __always_inline enum verdict refuse(struct created *created, enum drop_reason reason)
{
	created->reason = reason;
	return VERDICT_DROP;
}

static __always_inline int found_by_another(const struct tuple *tuple, struct created *created)
{
	struct connection *connection = find_again(tuple);
	if (!connection)
		return refuse(created, DROP_ENDED);
	created->connection = find_slot(tuple);
	created->server = connection->server + 1;
	return created->connection ? VERDICT_REQUEST : refuse(created, DROP_ENDED);
}

static __always_inline struct entry entry_of(const struct created *created, enum slot_side side)
{
	return (struct entry){
		.side = side,
		.method = created->method,
		.state = created->state,
		.here = created->here,
		.server = created->server - 1,
		.deadline = created->related ? now_in_ticks() + RELATED_TICKS : deadline_after(created->state),
	};
}

/* The other side's slot, where it was made first, learns whose it is; or it goes, when there is to be no connection. */
static __always_inline void settle_answer(const struct created *created, __u32 owner)
{
	struct connection *answer = created->answer ? slot_at(created->answer - 1) : NULL;
	struct connection *live = owner ? slot_at(owner - 1) : NULL;
	if (!answer)
		return;
	if (live)
		(void)__sync_lock_test_and_set(&answer->peer, owner);
	if (!live || phase_of(READ_ONCE(live->control)) != PHASE_LIVE)
		kill_peer(answer, owner - 1);
}

/* The client's slot, which owns the connection. */
__noinline int insert_request(const struct tuple *tuple, struct created *created)
{
	struct server *server = created ? server_at(created->server - 1) : NULL;
	if (!tuple || !created || !server)
		return VERDICT_PASS;
	struct entry entry = entry_of(created, SIDE_CLIENT);
	entry.link = created->method == METHOD_FULLNAT ? created->link : created->template;
	entry.peer = created->answer;
	__u64 load = load_of(entry.state);
	bind(server, load);
	__u32 index = 0;
	int result = insert_anyhow(tuple, &entry, &index);
	if (result == CLAIMED) {
		created->connection = index + 1;
		created->made = true;
		settle_answer(created, index + 1);
		return VERDICT_REQUEST;
	}
	unbind(server, load);
	leave_template(created->template);
	settle_answer(created, 0);
	return result == FULL ? refuse(created, DROP_TABLE_FULL) : found_by_another(tuple, created);
}
