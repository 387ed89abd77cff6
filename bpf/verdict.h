/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What can become of a packet, and what is known of one on its way to a connection of its own. */
#pragma once

#include "maps.h"

enum verdict {
	VERDICT_PASS,
	VERDICT_DROP,
	VERDICT_UNREACHABLE, /* dropped, and its sender is told so */
	VERDICT_REQUEST,
	VERDICT_REPLY,
};

/* What has become of a packet that wants a new connection. */
struct created {
	__u32 reason;	  /* of a drop */
	__u32 service;	  /* its index */
	__u32 server;	  /* index + 1 */
	__u32 connection; /* index + 1, 0 for none */
	__u32 template;	  /* of a persistent service: what holds the client there, index + 1 */
	__u32 answer;	  /* index + 1 of the slot by which answers are found, where that is made first */
	__u32 link;	  /* see `struct connection` */
	__u8 method;
	__u8 state; /* that the connection begins in */
	bool one_packet;
	bool here; /* its client is on the director itself */
	bool made; /* the connection is this packet's own, and not one that another CPU made meanwhile */
};

/* A packet that may open a connection. It lies in a map, because the stack has no room for all that this takes. */
struct opening {
	struct tuple tuple;
	struct tuple other; /* of its template, then of its answers */
	struct created created;
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct opening);
} openings SEC(".maps");
