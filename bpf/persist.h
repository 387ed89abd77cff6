/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Persistence: a template remembers which real server a client (or its network) had, for as long as it has connections there
 * and the service's timeout longer. It is a slot of the connection table under a tuple that no packet can have.
 */
#pragma once

#include "schedule.h"
#include "verdict.h"

static __always_inline struct tuple template_tuple(const struct tuple *tuple, const struct service *service)
{
	__be16 port = tuple->ports >> 16;
	bool mark = !service->key.protocol;
	/* one for all ports of a service that has several: of a mark, of a whole address, of FTP */
	bool own_port = !mark && port == service->key.port && port != bpf_htons(PORT_FTP);
	return (struct tuple){
		.source.half = {tuple->source.half[0] & service->netmask.half[0],
				tuple->source.half[1] & service->netmask.half[1]},
		.destination = service->key.vip,
		.ports = own_port ? (__u32)port << 16 : 0,
		.protocol = (mark ? 0 : tuple->protocol) | TEMPLATE_PROTOCOL,
	};
}

static __always_inline bool still_serves(__u32 index, __u32 service_number)
{
	struct server *server = server_at(index);
	return server && READ_ONCE(server->phase) == SERVER_AVAILABLE && server->service == service_number &&
	       (server->weight || !knob(KNOB_EXPIRE_QUIESCENT_TEMPLATE));
}

/* Count a connection in, so that the sweep leaves the template be. False if it ended first. */
static __always_inline bool hold_template(struct connection *template, __u32 lasts)
{
	__sync_fetch_and_add(&template->link, 1);
	for (int i = 0; i < 8; i++) {
		__u64 control = READ_ONCE(template->control);
		if (phase_of(control) != PHASE_LIVE)
			return false;
		if (!(control & EXPIRING) || swap_control(template, control, control & ~EXPIRING)) {
			WRITE_ONCE(template->deadline, now_in_ticks() + lasts);
			return true;
		}
	}
	return false;
}

static __always_inline void count_template(__u32 server_index, int change)
{
	struct server *server = server_at(server_index);
	if (server)
		__sync_fetch_and_add(&server->templates, change);
}

/*
 * The template's server is gone: another takes its place, in one step, so that of several packets of a client one decides for
 * all. (The kernel leaves the old template to die under another port, and makes a new one.)
 */
static __always_inline __u32 move_template(struct connection *template, __u32 from, __u32 to)
{
	__u32 seen = __sync_val_compare_and_swap(&template->server, from, to);
	if (seen != from)
		return seen;
	count_template(from, -1);
	count_template(to, 1);
	return to;
}

/* The template's server if it may still be used, or else a new one for it; index + 1, 0 when there is none. */
static __always_inline int server_of_template(struct connection *template, const struct tuple *tuple,
					      __u32 service_number)
{
	__u32 server = READ_ONCE(template->server);
	if (still_serves(server, service_number))
		return server + 1;
	int chosen = schedule(tuple, service_number);
	return chosen ? move_template(template, server, chosen - 1) + 1 : 0;
}

/* A template for a client that has none: its index + 1, 0 when the table has no room for it. *server is whom it names. */
static __always_inline __u32 new_template(const struct tuple *wanted, const struct service *service, int server)
{
	struct entry entry = {
		.side = SIDE_CLIENT,
		.method = METHOD_DR,
		.state = STATE_NONE,
		.server = server - 1,
		.deadline = now_in_ticks() + service->persistence,
	};
	__u32 index = 0;
	int result = insert(wanted, &entry, &index);
	if (result == CLAIMED)
		count_template(server - 1, 1);
	return result == CLAIMED ? index + 1 : result == FOUND ? find_slot(wanted) : 0;
}

/*
 * The index + 1 of the server for a client of a persistent service, 0 when there is none. What holds the client there is noted;
 * a table without room for it holds nobody.
 */
static __always_inline int persist(struct opening *opening, const struct service *service)
{
	struct created *created = &opening->created;
	opening->other = template_tuple(&opening->tuple, service);
	__u32 index = find_slot(&opening->other);
	int server = 0;
	if (!index) {
		server = schedule(&opening->tuple, created->service);
		index = server ? new_template(&opening->other, service, server) : 0;
	}
	struct connection *found = index ? slot_at(index - 1) : NULL;
	if (!found || !hold_template(found, service->persistence))
		return server;
	server = server_of_template(found, &opening->tuple, created->service);
	if (server)
		created->template = index;
	else
		leave_template(index);
	return server;
}
