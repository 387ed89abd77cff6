/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* NAT: a connection has a second slot, by which its server's answers are found. */
#pragma once

#include "opening.h"

/* A client uses one port for two services of one server. The older connection gives way unless it is active. */
static __noinline bool give_way(const struct tuple *answer)
{
	if (!answer)
		return false;
	struct connection *found = find_again(answer);
	if (!found)
		return true;
	struct connection *owner = side_of(READ_ONCE(found->control)) == SIDE_SERVER ? peer_of(found) : NULL;
	if (!owner)
		return false;
	__u64 control = READ_ONCE(owner->control);
	if (phase_of(control) != PHASE_LIVE || is_active(state_of(control)) ||
	    !end_connection(owner, found->peer - 1, control))
		return false;
	tell(EVENT_EVICTED, owner);
	return true;
}

/* Both sides know each other from here on. The answer's is told what has happened to its owner meanwhile. */
static __noinline int join(struct connection *owner, __u32 owner_index, __u32 answer_index)
{
	struct connection *answer = slot_at(answer_index);
	if (!owner || !answer)
		return 0;
	/* whoever ends the owner from here on ends both */
	(void)__sync_lock_test_and_set(&owner->peer, answer_index + 1);
	if (phase_of(READ_ONCE(owner->control)) == PHASE_LIVE)
		publish_state(owner, answer, READ_ONCE(owner->deadline));
	else
		kill_peer(answer, owner_index);
	return 0;
}

/* End a connection that got no second slot, whatever other packets have made of its state meanwhile. */
static __noinline int take_back(struct connection *owner, __u32 index)
{
	if (!owner)
		return 0;
	for (int i = 0; i < 8; i++) {
		__u64 control = READ_ONCE(owner->control);
		if (phase_of(control) != PHASE_LIVE || end_connection(owner, index, control))
			return 0;
	}
	return 0;
}

/* The second slot of a NAT connection, by which answers are found. */
__noinline int insert_answer(struct opening *opening)
{
	if (!opening)
		return VERDICT_PASS;
	struct created *created = &opening->created;
	struct server *server = server_at(created->server - 1);
	__u32 owner_index = created->connection - 1;
	struct connection *owner = slot_at(owner_index);
	if (!server || !owner)
		return VERDICT_PASS;
	opening->other = answer_tuple(&opening->tuple, server);
	struct entry entry = entry_of(created, SIDE_SERVER);
	entry.peer = owner_index + 1;
	__u32 index = 0;
	int result = insert_anyhow(&opening->other, &entry, &index);
	if (result == FOUND && give_way(&opening->other))
		result = insert(&opening->other, &entry, &index);
	if (result == CLAIMED) {
		join(owner, owner_index, index);
		return VERDICT_REQUEST;
	}
	take_back(owner, owner_index);
	return refuse(created, result == FULL ? DROP_TABLE_FULL : DROP_TUPLE_IN_USE);
}
