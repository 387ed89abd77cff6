/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Connections that somebody wants to end: named by Python, by their slots, in what it runs a program on. */
#pragma once

#include "evict.h"

/*
 * End the connection that the frame names at this place, unless its slot is another's by now. A template that still has connections
 * stays. True if it was ended.
 */
__noinline int end_named(struct __sk_buff *skb, __u32 offset)
{
	struct named named;
	if (bpf_skb_load_bytes(skb, offset, &named, sizeof(named)))
		return false;
	struct connection *owner = slot_at(named.slot);
	if (!owner)
		return false;
	for (int i = 0; i < 8; i++) { /* its state may change meanwhile */
		__u64 control = READ_ONCE(owner->control);
		if (control >> CONTROL_GENERATION != named.use || phase_of(control) != PHASE_LIVE ||
		    side_of(control) != SIDE_CLIENT || (control & TEMPLATE && READ_ONCE(owner->link)))
			return false;
		if (end_connection(owner, named.slot, control)) {
			tell(EVENT_DELETED, owner);
			return true;
		}
	}
	return false;
}
