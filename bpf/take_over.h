/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What another director has told of its connections is put into the table here: by the same insertions as a packet's, and so under
 * the same locks. The backup's daemon runs it; no packet ever does.
 *
 * What is told ends on the last tick of a second, and is marked as told: so the daemon that tells others sees whether a packet has
 * been here since, and never sends back what it was told.
 */
#pragma once

#include "decide.h"

/* Not `openings`: a packet may come between two steps of this one, on the same CPU. */
struct taking {
	struct told told;
	struct opening opening;
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct taking);
} takings SEC(".maps");

#define TOLD (1ULL << CONTROL_TOLD)

static __always_inline struct taking *taking_room(void)
{
	__u32 zero = 0;
	return bpf_map_lookup_elem(&takings, &zero);
}

static __always_inline __u32 told_deadline(const struct told *told)
{
	__u32 deadline = told->timeout ? now_in_ticks() + told->timeout : deadline_after(told->state);
	return deadline | (TICKS_A_SECOND - 1);
}

static __always_inline __u64 told_control(const struct told *told, __u64 control)
{
	control = (control & ~EXPIRING) | TOLD;
	if (control & TEMPLATE)
		return told->assured ? control | ASSURED : control;
	return with_state(control, told->state);
}

/* A connection or template that is here becomes as it was told. False if it ended first, or is none. */
__noinline int renew(struct connection *owner, const struct told *told)
{
	if (!owner || !told)
		return false;
	for (int i = 0; i < 8; i++) {
		__u64 control = READ_ONCE(owner->control);
		if (phase_of(control) != PHASE_LIVE || side_of(control) != SIDE_CLIENT)
			return false;
		__u32 server = READ_ONCE(owner->server), before = state_of(control);
		struct connection *peer = peer_of(owner);
		if (!swap_control(owner, control, told_control(told, control)))
			continue;
		if (!(control & TEMPLATE) && is_active(before) != is_active(told->state))
			move_load(server, before, told->state);
		__u32 deadline = told_deadline(told);
		WRITE_ONCE(owner->deadline, deadline);
		if (peer)
			publish_state(owner, peer, deadline);
		return true;
	}
	return false; /* packets change it: they know better */
}

/* The server that it is bound to, unless the daemon saw another in this place. */
static __always_inline struct server *told_server(const struct told *told)
{
	struct server *server = server_at(told->server);
	bool fits = server && READ_ONCE(server->phase) == SERVER_AVAILABLE && server->method != METHOD_FULLNAT &&
		    same_address(&server->address, &told->server_address);
	return fits ? server : NULL;
}

static __always_inline int open_told(struct taking *taking, const struct server *server)
{
	struct opening *opening = &taking->opening;
	struct created *created = &opening->created;
	*created = (struct created){
		.service = server->service,
		.server = taking->told.server + 1,
		.method = server->method,
		.state = taking->told.state,
	};
	int verdict = insert_request(&opening->tuple, created);
	if (verdict == VERDICT_REQUEST && created->made && created->method == METHOD_NAT)
		verdict = insert_answer(opening);
	struct connection *made =
		verdict == VERDICT_REQUEST && created->connection ? slot_at(created->connection - 1) : NULL;
	return made && renew(made, &taking->told);
}

/* What is told of one that has another server by now is news only while it is active. */
static __noinline int take_connection(struct taking *taking)
{
	struct server *server = taking ? told_server(&taking->told) : NULL;
	if (!server)
		return false;
	__u32 index = find_slot(&taking->opening.tuple);
	struct connection *here = index ? slot_at(index - 1) : NULL;
	if (!here)
		return open_told(taking, server);
	__u64 control = READ_ONCE(here->control);
	if (side_of(control) != SIDE_CLIENT)
		return false;
	if (here->server == taking->told.server)
		return renew(here, &taking->told);
	if (taking->told.ending)
		return false;
	end_former(here, control);
	return open_told(taking, server);
}

static __noinline int take_template(struct taking *taking)
{
	struct server *server = taking ? told_server(&taking->told) : NULL;
	if (!server)
		return false;
	struct entry entry = {
		.side = SIDE_CLIENT,
		.method = METHOD_DR,
		.state = STATE_NONE,
		.server = taking->told.server,
		.deadline = told_deadline(&taking->told),
	};
	__u32 index = find_slot(&taking->opening.tuple);
	if (!index) {
		if (insert(&taking->opening.tuple, &entry, &index) != CLAIMED)
			return false;
		index++;
		count_template(taking->told.server, 1);
	}
	struct connection *template = slot_at(index - 1);
	if (!template)
		return false;
	__u32 former = READ_ONCE(template->server);
	if (former != taking->told.server)
		move_template(template, former, taking->told.server);
	return renew(template, &taking->told);
}

/* One of those that a frame tells of. */
__noinline int take_told(struct __sk_buff *skb, __u32 number)
{
	struct taking *taking = taking_room();
	if (!taking || bpf_skb_load_bytes(skb, (number + 1) * sizeof(struct told), &taking->told, sizeof(struct told)))
		return false;
	struct told *told = &taking->told;
	if (told->state >= STATES)
		return false;
	taking->opening.tuple = (struct tuple){
		.source = told->client,
		.destination = told->virtual,
		.ports = join_ports(told->client_port, told->virtual_port),
		.protocol = told->protocol,
	};
	return told->protocol & TEMPLATE_PROTOCOL ? take_template(taking) : take_connection(taking);
}
