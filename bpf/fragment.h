/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Fragments. Only the first one of a datagram has ports, so what it was found to belong to is remembered for the others. Those
 * that come before it are held; it sends itself and them in again, and this time they are known.
 *
 * Two CPUs may have the first and a later one at once. The one writes its record and then looks for held ones; the other holds
 * its own and then looks for the record: at least one of them sees what the other did. Who deletes a held one sends it in.
 */
#pragma once

#include "decide.h"

enum {
	EARLY_OF_DATAGRAM = 44,			       /* of the largest datagram in fragments of 1,500 bytes */
	DATAGRAM_TICKS = 30 * TICKS_A_SECOND,	       /* how long the kernel waits for all of them (ip_frag_time) */
	REUSE_TICKS = DATAGRAM_TICKS - TICKS_A_SECOND, /* what is left of it when an id may be another datagram's */
};

enum { DATAGRAM_UNKNOWN, DATAGRAM_OURS, DATAGRAM_NOT_OURS };

enum fragment_fate {
	FRAGMENT_GOES_ON, /* it has ports, its own or its datagram's */
	FRAGMENT_PASSES,  /* the host's own stack gets it */
	FRAGMENT_HELD,
	FRAGMENT_NO_ROOM,
};

/* What is known of the fragment that this CPU is at. */
struct fragment_work {
	struct datagram datagram;
	struct fragmented record;
	struct early_fragment copy;
	__u32 held;
	__u32 all; /* look further than the first number that is missing */
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct fragment_work);
} fragment_works SEC(".maps");

static __always_inline struct fragment_work *fragment_work(void)
{
	__u32 zero = 0;
	return bpf_map_lookup_elem(&fragment_works, &zero);
}

static __always_inline void name_datagram(const struct packet *packet, struct datagram *datagram)
{
	datagram->source = packet->tuple.source;
	datagram->destination = packet->tuple.destination;
	datagram->id = packet->fragment_id;
	datagram->protocol = packet->tuple.protocol;
	datagram->number = 0;
}

/* Could it be a balanced connection's? What is not need not wait for its ports. */
static __always_inline bool may_be_balanced(const struct datagram *datagram)
{
	return has_role(&datagram->destination, ADDRESS_VIP | ADDRESS_LOCAL) ||
	       has_role(&datagram->source, ADDRESS_RIP);
}

static __always_inline struct fragmented *record_of(const struct datagram *datagram)
{
	struct fragmented *record = bpf_map_lookup_elem(&fragmented, datagram);
	return record && !due(READ_ONCE(record->good_until), now_in_ticks()) ? record : NULL;
}

/* The first fragment of its datagram never came. */
static __always_inline bool is_stale(const struct early_fragment *early)
{
	return due(READ_ONCE(early->good_until), now_in_ticks());
}

/* A full barrier: what was written before is seen by all before anything is read after. */
static __always_inline void order(struct fragment_work *work)
{
	(void)__sync_lock_test_and_set(&work->all, 0);
}

/* The frame becomes the one held, but for its MAC addresses, and comes in by this interface. */
static __always_inline bool send_in_again(struct __sk_buff *skb, struct datagram *datagram,
					  struct early_fragment *early)
{
	__u32 length = bounded(early->length - sizeof(struct ethhdr), EARLY_SIZE);
	bool stale = is_stale(early);
	bool copied = length <= EARLY_SIZE - sizeof(struct ethhdr) &&
		      !bpf_skb_change_tail(skb, length + sizeof(struct ethhdr), 0) &&
		      !bpf_skb_store_bytes(skb, sizeof(struct ethhdr), early->frame + sizeof(struct ethhdr), length,
					   BPF_F_RECOMPUTE_CSUM);
	/* another CPU has sent it in, or it was evicted, and perhaps overwritten while it was copied */
	if (bpf_map_delete_elem(&early_fragments, datagram) || stale)
		return true;
	return copied && !bpf_clone_redirect(skb, skb->ifindex, BPF_F_INGRESS);
}

struct release {
	struct __sk_buff *skb;
};

static long release_one(__u32 number, struct release *release)
{
	struct fragment_work *work = fragment_work();
	if (!work)
		return 1;
	work->datagram.number = number;
	struct early_fragment *early = bpf_map_lookup_elem(&early_fragments, &work->datagram);
	if (!early)
		return !work->all;
	if (!send_in_again(release->skb, &work->datagram, early))
		count(DROP_FRAGMENT);
	return 0;
}

static long hold_as(__u32 number, __u32 *zero)
{
	struct fragment_work *work = bpf_map_lookup_elem(&fragment_works, zero);
	if (!work)
		return 1;
	work->datagram.number = number;
	struct early_fragment *early = bpf_map_lookup_elem(&early_fragments, &work->datagram);
	if (early && !is_stale(early))
		return 0;
	if (early)
		bpf_map_delete_elem(&early_fragments, &work->datagram);
	work->held = !bpf_map_update_elem(&early_fragments, &work->datagram, &work->copy, BPF_NOEXIST);
	return work->held;
}

/* Keep the frame for its datagram's first fragment. If that has come meanwhile, it may have missed any of those held. */
__noinline int hold(struct __sk_buff *skb)
{
	struct fragment_work *work = fragment_work();
	__u32 length = skb->len, zero = 0;
	if (!work || length > EARLY_SIZE)
		return FRAGMENT_NO_ROOM;
	length = bounded(length, EARLY_SIZE);
	if (bpf_skb_load_bytes(skb, 0, work->copy.frame, length))
		return FRAGMENT_NO_ROOM;
	work->copy.length = length;
	work->copy.good_until = now_in_ticks() + DATAGRAM_TICKS;
	work->held = false;
	bpf_loop(EARLY_OF_DATAGRAM, hold_as, &zero, 0);
	if (!work->held)
		return FRAGMENT_NO_ROOM;
	order(work);
	work->datagram.number = 0;
	if (record_of(&work->datagram)) {
		struct release release = {.skb = skb};
		work->all = true;
		bpf_loop(EARLY_OF_DATAGRAM, release_one, &release, 0);
	}
	return FRAGMENT_HELD;
}

/* The first fragment goes once more through this hook, and those that waited for it follow. */
__noinline int release_held(struct __sk_buff *skb)
{
	struct release release = {.skb = skb};
	if (bpf_clone_redirect(skb, skb->ifindex, BPF_F_INGRESS))
		count(DROP_FRAGMENT);
	return bpf_loop(EARLY_OF_DATAGRAM, release_one, &release, 0);
}

/* What the datagram's first fragment has left for the others: whose they are. */
__noinline int find_record(void)
{
	struct fragment_work *work = fragment_work();
	struct fragmented *found = work ? record_of(&work->datagram) : NULL;
	if (!work)
		return DATAGRAM_UNKNOWN;
	work->record = found ? *found : (struct fragmented){};
	if (!found && !may_be_balanced(&work->datagram))
		return DATAGRAM_NOT_OURS;
	return work->record.known;
}

/* A fragment has been parsed. A later one gets the ports of its datagram's first. */
static __always_inline enum fragment_fate meet_fragment(struct __sk_buff *skb, struct packet *packet)
{
	struct fragment_work *work = fragment_work();
	if (!work)
		return FRAGMENT_NO_ROOM;
	name_datagram(packet, &work->datagram);
	int known = find_record();
	if (!is_later_fragment(packet))
		return FRAGMENT_GOES_ON;
	packet->tuple.ports = work->record.ports;
	if (known == DATAGRAM_OURS)
		return FRAGMENT_GOES_ON;
	return known == DATAGRAM_NOT_OURS || hostile_source(&packet->tuple) ? FRAGMENT_PASSES : hold(skb);
}

/* One-packet scheduling keeps no connection: the datagram's record has the server that its first fragment was given. */
static __always_inline bool was_scheduled(const struct packet *packet, struct decision *decision)
{
	struct fragment_work *work = fragment_work();
	if (!work || !work->record.server || work->record.ports != packet->tuple.ports)
		return false;
	decision->server_index = work->record.server - 1;
	decision->server = server_at(decision->server_index);
	return decision->server && decision->server->phase == SERVER_AVAILABLE;
}

/*
 * The first fragment says whose the others are. One with other ports that follows at once is not believed; the host's own are
 * remembered only where the rest of them would be held. True if others have waited for it.
 */
__noinline int write_record(__u32 ports, __u32 ours, __u32 server)
{
	struct fragment_work *work = fragment_work();
	if (!work || (!ours && !may_be_balanced(&work->datagram)))
		return false;
	struct fragmented record = {
		.ports = ports,
		.known = ours ? DATAGRAM_OURS : DATAGRAM_NOT_OURS,
		.server = server,
		.good_until = now_in_ticks() + DATAGRAM_TICKS,
	};
	/* what was let pass to the firewall may come back with a mark, and then be ours */
	bool came_back = ours && work->record.known == DATAGRAM_NOT_OURS && work->record.ports == ports;
	if (!work->record.known || came_back || due(work->record.good_until, now_in_ticks() + REUSE_TICKS))
		bpf_map_update_elem(&fragmented, &work->datagram, &record, BPF_ANY);
	order(work);
	struct early_fragment *early = bpf_map_lookup_elem(&early_fragments, &work->datagram);
	return early && !is_stale(early);
}

/* A first fragment has been decided on. True if others have waited for it. */
static __always_inline bool tell_others(const struct packet *packet, const struct decision *decision,
					enum verdict verdict)
{
	bool ours = verdict == VERDICT_REQUEST || verdict == VERDICT_REPLY;
	if (!ours && verdict != VERDICT_PASS)
		return false;
	return write_record(packet->tuple.ports, ours, ours && !decision->connection ? decision->server_index + 1 : 0);
}

/* True if it comes again, before those that waited for it. */
static __always_inline bool comes_again(struct __sk_buff *skb, const struct packet *packet,
					const struct decision *decision, enum verdict verdict)
{
	if (!tell_others(packet, decision, verdict))
		return false;
	release_held(skb);
	return true;
}
