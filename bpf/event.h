/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What `pylvs watch` shows: connections that begin and end, and packets that are dropped. Nothing is made while nobody watches,
 * and nothing ever waits for a watcher: what the ring has no room for is lost, and counted.
 *
 * A connection that was announced as scheduled has one end: expired, or evicted for another's sake.
 */
#pragma once

#include "connection.h"
#include "verdict.h"

static __always_inline bool is_watched(void)
{
	__u32 zero = 0;
	struct settings *setting = bpf_map_lookup_elem(&settings, &zero);
	return setting && unlikely(!due(READ_ONCE(setting->watched_until), READ_ONCE(setting->now)));
}

static __always_inline struct event *new_event(void)
{
	struct event *event = bpf_ringbuf_reserve(&events, sizeof(*event), 0);
	if (!event) {
		__u32 zero = 0;
		struct settings *setting = bpf_map_lookup_elem(&settings, &zero);
		if (setting)
			__sync_fetch_and_add(&setting->events_lost, 1);
		return NULL;
	}
	__builtin_memset(event, 0, sizeof(*event));
	event->at = bpf_ktime_get_ns();
	return event;
}

/* What the client's side of a connection tells; it holds for a round after the connection has ended, too. */
static __always_inline void describe(struct event *event, const struct connection *owner)
{
	__u64 control = READ_ONCE(owner->control);
	event->client = owner->source;
	event->client_port = owner->source_port;
	event->virtual = owner->destination;
	event->virtual_port = owner->destination_port;
	event->protocol = FIELD(control, CONTROL_PROTOCOL, 8);
	event->state = state_of(control);
	event->method = method_of(control);
}

/* The port that a server gets a packet on. */
static __always_inline __be16 real_port(const struct server *server, __be16 port)
{
	bool mapped = server->mapped_port && (!server->virtual_port || server->virtual_port == port);
	return mapped ? server->mapped_port : port;
}

static __always_inline void name_server(struct event *event, const struct server *server)
{
	event->server = server->address;
	event->server_port = real_port(server, event->virtual_port);
	event->method = server->method;
}

/* Of the client's side of a connection: `kind` says what has just happened to it. Templates are nobody's connection. */
__noinline int emit_connection(struct connection *owner, __u32 kind)
{
	if (!owner || FIELD(READ_ONCE(owner->control), CONTROL_PROTOCOL, 8) & TEMPLATE_PROTOCOL)
		return 0;
	__u32 index = owner->server;
	struct server *server = bpf_map_lookup_elem(&servers, &index);
	struct event *event = new_event();
	if (!event)
		return 0;
	describe(event, owner);
	if (server)
		name_server(event, server);
	event->kind = kind;
	bpf_ringbuf_submit(event, 0);
	return 0;
}

/*
 * A dropped packet: in the words of its connection if it has one (an answer's source is then the server), else by its own
 * addresses. `server` may be known without a connection.
 */
__noinline int emit_drop(const struct tuple *tuple, struct connection *connection, struct server *server, __u32 reason)
{
	if (!tuple)
		return 0;
	struct connection *owner = connection;
	if (connection && side_of(READ_ONCE(connection->control)) == SIDE_SERVER)
		owner = peer_of(connection);
	struct event *event = new_event();
	if (!event)
		return 0;
	event->client = tuple->source;
	event->client_port = tuple->ports;
	event->virtual = tuple->destination;
	event->virtual_port = tuple->ports >> 16;
	event->protocol = tuple->protocol;
	if (owner)
		describe(event, owner);
	if (server)
		name_server(event, server);
	event->kind = EVENT_DROPPED;
	event->reason = reason;
	bpf_ringbuf_submit(event, 0);
	return 0;
}

/* One line where something happens to a connection, given by its client's side. */
static __always_inline void tell(enum event_kind kind, struct connection *owner)
{
	if (is_watched())
		emit_connection(owner, kind);
}

/*
 * The same for a drop. The tuple is pointed at as a copy, so that the fast path's may stay in registers, and the stack has no room
 * for one.
 */
static __always_inline void tell_drop(const struct tuple *tuple, struct connection *connection, struct server *server,
				      enum drop_reason reason)
{
	if (!is_watched())
		return;
	__u32 zero = 0;
	struct opening *opening = bpf_map_lookup_elem(&openings, &zero);
	if (!opening)
		return;
	opening->tuple = *tuple;
	emit_drop(&opening->tuple, connection, server, reason);
}
