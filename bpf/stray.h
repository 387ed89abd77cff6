/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * nat_icmp_send: a packet from a NAT server's address and port that belongs to no connection is refused, so that the server ends
 * what it still takes for one.
 */
#pragma once

#include "schedule.h"

struct search {
	const struct tuple *tuple;
	__u32 server; /* found: index + 1 */
};

/* The director's own programs are told by its stack. Of a mark's servers the protocol isn't known. */
static __always_inline bool sends_from(const struct server *server, const struct tuple *tuple)
{
	return server->phase == SERVER_AVAILABLE && server->method == METHOD_NAT && !server->local &&
	       server->port == (__be16)tuple->ports && same_address(&server->address, &tuple->source) &&
	       (!server->service_key.protocol || server->service_key.protocol == tuple->protocol);
}

static long look_at_server(__u32 index, struct search *search)
{
	struct server *server = server_at(index);
	if (server && !sends_from(server, search->tuple))
		return 0;
	search->server = server ? index + 1 : 0;
	return 1;
}

/* The index + 1 of the NAT server that a packet comes from, 0 for none. All are looked at, but only for packets of real servers. */
__noinline int find_sender(const struct tuple *tuple)
{
	struct settings *setting = all_settings();
	if (!tuple || !setting)
		return 0;
	struct address source = tuple->source;
	struct search search = {.tuple = tuple};
	if (has_role(&source, ADDRESS_RIP))
		bpf_loop(setting->servers_used, look_at_server, &search, 0);
	return search.server;
}
