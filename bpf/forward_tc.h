/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The complete path: the kernel's helpers keep checksum offloads right, and its neighbour table finds the MAC. */
#pragma once

#include "client_way.h"
#include "here.h"
#include "outer.h"
#include "sctp_tc.h"
#include "toa.h"

enum {
	MAX_OPTIONS = 40,
	OPTION_END = 0,
	OPTION_NOTHING = 1,
	OPTION_LOOSE_ROUTE = 131,
	OPTION_STRICT_ROUTE = 137,
};

/* Must a packet go by a way of its own choice? The host's stack knows whether that is allowed, so it gets such packets. */
__noinline int is_source_routed(struct __sk_buff *skb, __u32 length)
{
	for (__u32 i = 0, next = 0; i < MAX_OPTIONS && i < length; i++) {
		struct {
			__u8 kind;
			__u8 length; /* there is always a byte behind a kind: the transport header comes after the options */
		} option;
		if (i < next)
			continue;
		if (bpf_skb_load_bytes(skb, sizeof(struct ethhdr) + sizeof(struct iphdr) + i, &option, sizeof(option)))
			return true;
		if (option.kind == OPTION_LOOSE_ROUTE || option.kind == OPTION_STRICT_ROUTE)
			return true;
		if (option.kind == OPTION_END)
			return false;
		next = option.kind == OPTION_NOTHING ? i + 1 : i + option.length;
		if (next == i)
			return true; /* an option without a length goes on for ever */
	}
	return false;
}

/* The outer headers as they are on the wire, whatever their family and kind. */
struct outer {
	__u8 bytes[64];
};
_Static_assert(MOST_OUTER <= sizeof(struct outer), "the longest outer headers fit");

/* All that sending needs to know of a packet; nothing of it points into the frame, which helpers may move. */
struct sending {
	struct tuple from;
	struct tuple to;
	struct inner inner; /* as it is to be, TTL included */
	__u32 server;
	__u32 l4_offset; /* 0: there is no layer 4 in it (a later fragment) */
	__u32 length;	 /* of layer 3; of what is to be segmented, of one segment */
	__u8 method;
	bool request;
	bool tells_client; /* FULLNAT: the server is to be told who the client is */
	bool offers;	   /* FULLNAT: its answer says how large the client's segments may be */
	__u8 tcp_header;   /* bytes of it */
	__u8 options;	   /* bytes of them in the IP header, see `struct packet` */
	bool segmented;	   /* the kernel cuts it into segments that fit */
	bool ttl_done;	   /* the kernel has routed it already, and counted that hop */
	enum ending ending;
	bool unresolved;	 /* found: the neighbour's MAC address is not known yet */
	struct address via;	 /* found: the neighbour to send to */
	__u32 interface;	 /* found */
	struct outer outer;	 /* of TUN: room for them, which the stack has not */
	__u32 mtu;		 /* found: of the way out, for this packet without what is added to it */
	bool cut;		 /* it is too big, and leaves in fragments */
	bool fragment;		 /* of what is cut: it is one itself */
	__u8 macs[2 * ETH_ALEN]; /* found, of what is cut: as a frame begins */
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct sending);
} sendings SEC(".maps");

/* FULLNAT: the server is of another family than the client. */
static __always_inline bool changes_family(const struct sending *sending)
{
	return is_ipv4(&sending->from.source) != is_ipv4(&sending->to.source);
}

enum { FAMILY_DIFFERENCE = (int)(sizeof(struct ipv6hdr) - sizeof(struct iphdr)) };

/* How much longer a packet leaves than it came. */
static __always_inline __u32 grows_by(const struct sending *sending, const struct server *server)
{
	if (sending->method == METHOD_FULLNAT)
		return is_ipv4(&sending->from.source) && changes_family(sending) ? FAMILY_DIFFERENCE : 0;
	return sending->request && sending->method == METHOD_TUN ? overhead(server) : 0;
}

static __always_inline enum drop_reason fits(struct sending *sending, const struct server *server, __u32 mtu)
{
	__u32 added = grows_by(sending, server);
	sending->mtu = mtu > added ? mtu - added : 0;
	if (added && sending->mtu < (sending->inner.ipv4 ? IPV4_LEAST_MTU : IPV6_LEAST_MTU))
		return DROP_TUNNEL_MTU;
	if (added && sending->segmented) /* segments get shorter by what is added */
		return sending->method != METHOD_TUN && sending->length > mtu ? DROP_TOO_BIG : DROP_REASONS;
	return sending->length > sending->mtu && !sending->cut ? DROP_TOO_BIG : DROP_REASONS;
}

/* Ask the routing table, if it may be asked: the kernel answers only where it forwards. */
__noinline int look_up_exit(struct __sk_buff *skb, struct sending *sending)
{
	struct server *server = sending ? server_at(sending->server) : NULL;
	if (!server)
		return DROP_NO_ROUTE;
	struct bpf_fib_lookup fib = {
		.tot_len = sending->segmented || sending->cut ? 1 : sending->length + grows_by(sending, server),
	};
	struct address source = sending->to.source;
	struct address destination = sending->request ? server->address : sending->to.destination;
	long result = look_up_route(skb, &fib, sending->request ? NULL : &source, &destination, skb->ifindex);
	sending->interface = fib.ifindex;
	sending->via = gateway_of(&fib);
	sending->unresolved = result != BPF_FIB_LKUP_RET_SUCCESS;
	if (unlikely(sending->cut)) {
		__builtin_memcpy(sending->macs, fib.dmac, ETH_ALEN);
		__builtin_memcpy(sending->macs + ETH_ALEN, fib.smac, ETH_ALEN);
	}
	if (result == BPF_FIB_LKUP_RET_SUCCESS) {
		if (sending->request)
			remember_next_hop(server, &fib, now_in_ticks());
		else
			remember_client(&source, &destination, skb->ifindex, &fib, true);
		return fits(sending, server, fib.tot_len);
	}
	if (result == BPF_FIB_LKUP_RET_NO_NEIGH)
		return DROP_REASONS;
	if (result == BPF_FIB_LKUP_RET_FRAG_NEEDED)
		return fits(sending, server, fib.tot_len);
	if (!sending->request || !server->interface)
		return DROP_NO_ROUTE;
	sending->interface = server->interface;
	sending->via = server->address;
	return DROP_REASONS;
}

/*
 * Which packets are cut rather than refused, as by the kernel: those of IPv4 without DF, and ICMP errors towards a server, whatever
 * they say. SCTP's checksum must be there already, because it covers the whole.
 */
static __always_inline bool may_be_cut(struct __sk_buff *skb, struct sending *sending)
{
	struct iphdr ip;
	__u32 sctp_checksum = 1;
	if (!sending->inner.ipv4 || bpf_skb_load_bytes(skb, sizeof(struct ethhdr), &ip, sizeof(ip)))
		return false;
	bool kept_whole =
		sending->method == METHOD_TUN ? sending->inner.dont_fragment : ip.frag_off & bpf_htons(DONT_FRAGMENT);
	if (kept_whole && !(ip.protocol == IPPROTO_ICMP && sending->request))
		return false;
	sending->fragment = ip.frag_off & bpf_htons(FRAGMENT_OFFSET_OR_MORE);
	if (ip.protocol == IPPROTO_SCTP && sending->l4_offset)
		bpf_skb_load_bytes(skb, sending->l4_offset + offsetof(struct sctphdr, checksum), &sctp_checksum,
				   sizeof(sctp_checksum));
	return sctp_checksum;
}

/* What the kernel is to cut into TCP segments is cut into smaller ones: that is what it does when a header grows. */
static __always_inline bool shrink_segments(struct __sk_buff *skb, struct sending *sending)
{
	__s32 by = sending->length - sending->mtu;
	if (sending->from.protocol != IPPROTO_TCP || by <= 0 || bpf_skb_adjust_room(skb, by, BPF_ADJ_ROOM_MAC, 0) ||
	    bpf_skb_adjust_room(skb, -by, BPF_ADJ_ROOM_MAC, BPF_F_ADJ_ROOM_FIXED_GSO))
		return false;
	sending->length = sending->mtu;
	return true;
}

/* A packet is too big for the way out. If it may be cut, the way is asked for once more, as each fragment will need it. */
__noinline int cut_instead(struct __sk_buff *skb, struct sending *sending)
{
	struct server *server = sending ? server_at(sending->server) : NULL;
	if (!server || !may_be_cut(skb, sending))
		return DROP_TOO_BIG;
	if (sending->segmented) /* where it leaves is known */
		return shrink_segments(skb, sending) ? DROP_REASONS : DROP_TOO_BIG;
	const struct next_hop *hop = &server->next_hop;
	sending->cut = true;
	if (!sending->request || !remembers(hop))
		return look_up_exit(skb, sending);
	__u64 destination = READ_ONCE(hop->destination_mac), source = READ_ONCE(hop->source_mac);
	__builtin_memcpy(sending->macs, &destination, ETH_ALEN);
	__builtin_memcpy(sending->macs + ETH_ALEN, &source, ETH_ALEN);
	return DROP_REASONS;
}

/* Where a packet leaves, or why it can't. */
static __always_inline enum drop_reason find_exit(struct __sk_buff *skb, struct server *server, struct sending *sending)
{
	const struct next_hop *hop = &server->next_hop;
	enum drop_reason reason;
	if (!sending->request || !remembers(hop)) {
		reason = look_up_exit(skb, sending);
	} else {
		sending->unresolved = false;
		sending->interface = next_hop_interface(READ_ONCE(hop->destination_mac), READ_ONCE(hop->source_mac));
		sending->via = server->gateway;
		reason = fits(sending, server, READ_ONCE(hop->mtu));
	}
	return unlikely(reason == DROP_TOO_BIG) ? cut_instead(skb, sending) : reason;
}

/* One address of a packet and what depends on it: the checksums of layer 4 (`check_at`, if there is one) and of IPv4. */
static __always_inline bool replace_address(struct __sk_buff *skb, const struct address *from, const struct address *to,
					    bool destination, __u32 check_at, __u64 flags)
{
	bool ipv4 = is_ipv4(from);
	__u32 size = ipv4 ? 4 : 16;
	__u32 skipped = ipv4 ? 3 : 0;
	__u32 at = sizeof(struct ethhdr) +
		   (ipv4	  ? destination ? offsetof(struct iphdr, daddr) : offsetof(struct iphdr, saddr)
		    : destination ? offsetof(struct ipv6hdr, daddr)
				  : offsetof(struct ipv6hdr, saddr));
	__s64 difference = ipv4 ? bpf_csum_diff(&from->word[3], 4, &to->word[3], 4, 0)
				: bpf_csum_diff(from->word, 16, to->word, 16, 0);
	if (check_at && bpf_l4_csum_replace(skb, check_at, 0, difference, flags | BPF_F_PSEUDO_HDR))
		return false;
	if (ipv4 && bpf_l3_csum_replace(skb, sizeof(struct ethhdr) + offsetof(struct iphdr, check), from->word[3],
					to->word[3], 4))
		return false;
	return !bpf_skb_store_bytes(skb, at, ipv4 ? &to->word[skipped] : to->word, size, 0);
}

/* Where the checksum of a packet's layer 4 is, 0 where it has none that depends on addresses or can be mended here. */
static __always_inline __u32 check_offset(const struct sending *sending)
{
	if (!sending->l4_offset)
		return 0;
	if (sending->from.protocol == IPPROTO_TCP)
		return sending->l4_offset + offsetof(struct tcphdr, check);
	return sending->from.protocol == IPPROTO_UDP ? sending->l4_offset + offsetof(struct udphdr, check) : 0;
}

static __always_inline __u64 check_flags(const struct sending *sending)
{
	return sending->from.protocol == IPPROTO_UDP ? BPF_F_MARK_MANGLED_0 : 0;
}

static __always_inline bool replace_ports(struct __sk_buff *skb, const struct sending *sending)
{
	__u32 check_at = check_offset(sending), ports = sending->to.ports;
	if (!sending->l4_offset || sending->from.ports == ports)
		return true;
	if (check_at && bpf_l4_csum_replace(skb, check_at, sending->from.ports, ports, check_flags(sending) | 4))
		return false;
	return !bpf_skb_store_bytes(skb, sending->l4_offset, &ports, sizeof(ports), 0);
}

/* What the kernel and hosts make of an IPv4 packet that becomes one of IPv6, or the reverse (RFC 7915, without fragments). */
static __always_inline bool write_other_family(struct __sk_buff *skb, const struct sending *sending, bool ipv4)
{
	__be16 kind = ipv4 ? bpf_htons(ETH_P_IP) : bpf_htons(ETH_P_IPV6);
	__u32 payload = sending->inner.length - (ipv4 ? sizeof(struct ipv6hdr) : sizeof(struct iphdr));
	if (bpf_skb_store_bytes(skb, offsetof(struct ethhdr, h_proto), &kind, sizeof(kind), 0))
		return false;
	if (!ipv4) {
		struct ipv6hdr header = {
			.flow = bpf_htonl(0x60000000 | (__u32)sending->inner.tos << 20),
			.payload_len = bpf_htons(payload),
			.nexthdr = sending->from.protocol,
			.hop_limit = sending->inner.ttl,
		};
		__builtin_memcpy(header.saddr, sending->to.source.word, sizeof(header.saddr));
		__builtin_memcpy(header.daddr, sending->to.destination.word, sizeof(header.daddr));
		return !bpf_skb_store_bytes(skb, sizeof(struct ethhdr), &header, sizeof(header), 0);
	}
	struct iphdr header = {
		.version = 4,
		.ihl = 5,
		.tos = sending->inner.tos,
		.tot_len = bpf_htons(payload + sizeof(struct iphdr)),
		.frag_off = bpf_htons(DONT_FRAGMENT),
		.ttl = sending->inner.ttl,
		.protocol = sending->from.protocol,
		.saddr = sending->to.source.word[3],
		.daddr = sending->to.destination.word[3],
	};
	header.check = ~folded(bpf_csum_diff(NULL, 0, &header, sizeof(header), 0));
	return !bpf_skb_store_bytes(skb, sizeof(struct ethhdr), &header, sizeof(header), 0);
}

/* FULLNAT between the families. IP options and extension headers don't go along (RFC 7915); no fragment comes here. */
__noinline int change_family(struct __sk_buff *skb, struct sending *sending)
{
	if (!sending)
		return false;
	bool ipv4 = is_ipv4(&sending->to.destination);
	__u32 check_at = check_offset(sending);
	__be32 before[8], after[8];
	__builtin_memcpy(before, sending->from.source.word, 16);
	__builtin_memcpy(before + 4, sending->from.destination.word, 16);
	__builtin_memcpy(after, sending->to.source.word, 16);
	__builtin_memcpy(after + 4, sending->to.destination.word, 16);
	/* the words before a mapped IPv4 address are no part of its checksum, and there are as many on this side as on the other */
	if (ipv4)
		after[0] = after[1] = after[2] = after[4] = after[5] = after[6] = 0;
	else
		before[0] = before[1] = before[2] = before[4] = before[5] = before[6] = 0;
	__s64 difference = bpf_csum_diff(before, sizeof(before), after, sizeof(after), 0);
	if (check_at && bpf_l4_csum_replace(skb, check_at, 0, difference, check_flags(sending) | BPF_F_PSEUDO_HDR))
		return false;
	if (!replace_ports(skb, sending))
		return false;
	if (sending->options && bpf_skb_adjust_room(skb, -(__s32)sending->options, BPF_ADJ_ROOM_NET, 0))
		return false;
	sending->inner.length -= sending->options;
	if (bpf_skb_change_proto(skb, ipv4 ? bpf_htons(ETH_P_IP) : bpf_htons(ETH_P_IPV6), 0))
		return false;
	return write_other_family(skb, sending, ipv4);
}

__noinline int rewrite_tc(struct __sk_buff *skb, struct sending *sending)
{
	if (!sending)
		return false;
	__u32 check_at = check_offset(sending);
	__u64 flags = check_flags(sending);
	if (!same_address(&sending->from.source, &sending->to.source) &&
	    !replace_address(skb, &sending->from.source, &sending->to.source, false, check_at, flags))
		return false;
	if (!same_address(&sending->from.destination, &sending->to.destination) &&
	    !replace_address(skb, &sending->from.destination, &sending->to.destination, true, check_at, flags))
		return false;
	return replace_ports(skb, sending);
}

__noinline int count_hop_tc(struct __sk_buff *skb)
{
	struct ethhdr *eth = (void *)(long)skb->data;
	struct iphdr *ip = (void *)(eth + 1);
	struct ipv6hdr *ip6 = (void *)(eth + 1);
	void *end = (void *)(long)skb->data_end;
	if ((void *)(ip + 1) > end)
		return false;
	if (ip->version == 4) {
		decrement_ttl(ip);
		return true;
	}
	if ((void *)(ip6 + 1) > end)
		return false;
	ip6->hop_limit--;
	return true;
}

#include "encapsulate.h"
#include "cut.h"

/* A datagram of IPv4 may come without a checksum; one of IPv6 has one (RFC 7915). It is one of IPv6 already. */
__noinline int complete_datagram(struct __sk_buff *skb, struct sending *sending)
{
	__u32 begin = sizeof(struct ethhdr) + sizeof(struct ipv6hdr), at = begin + offsetof(struct udphdr, check);
	__u32 sum = 0;
	__u16 check;
	if (!sending || bpf_skb_load_bytes(skb, at, &check, sizeof(check)))
		return false;
	if (check)
		return true;
	__u32 length = sending->inner.length - sizeof(struct iphdr);
	if (add_bytes(skb, begin, begin + length, &sum))
		return false;
	check = complemented((__u64)sum +
			     pseudo_sum_of(&sending->to.source, &sending->to.destination, IPPROTO_UDP, length));
	check = check ? check : 0xffff;
	return !bpf_skb_store_bytes(skb, at, &check, sizeof(check), BPF_F_RECOMPUTE_CSUM);
}

static __always_inline bool may_lack_checksum(const struct sending *sending)
{
	return sending->from.protocol == IPPROTO_UDP && sending->inner.ipv4;
}

/* FULLNAT, before anything else of the packet changes. */
static __always_inline bool introduce(struct __sk_buff *skb, struct sending *sending)
{
	if (sending->offers)
		leave_room_for_toa(skb, sending->l4_offset, sending->tcp_header, toa_length(&sending->to.destination));
	__u32 most = sending->mtu ? sending->mtu : sending->length;
	if (!sending->tells_client || sending->length + toa_length(&sending->from.source) > most)
		return true;
	int added = add_toa(skb, &sending->from, sending->l4_offset, sending->length, sending->tcp_header);
	if (added > 0)
		sending->inner.length += added;
	return added >= 0;
}

static __always_inline bool change(struct __sk_buff *skb, struct sending *sending)
{
	if (!sending->ttl_done && !count_hop_tc(skb))
		return false;
	if (sending->method == METHOD_TUN)
		return encapsulate_tc(skb, sending);
	if (!rewrites(sending->method))
		return true;
	if (sending->method == METHOD_FULLNAT && !introduce(skb, sending))
		return false;
	if (changes_family(sending))
		return change_family(skb, sending) && (!may_lack_checksum(sending) || complete_datagram(skb, sending));
	return rewrite_tc(skb, sending);
}

/* Change the packet and send it off; the way out is known. */
__noinline int transmit(struct __sk_buff *skb, struct sending *sending)
{
	if (!sending || !change(skb, sending))
		return TC_ACT_SHOT;
	if (unlikely(sending->ending != ENDS_ELSEWHERE))
		return sending->ending == ENDS_AS_IT_GOES ? TC_ACT_OK : hand_over(skb);
	if (unlikely(sending->cut) && !send_all_but_the_last(skb, sending))
		return TC_ACT_SHOT;
	struct bpf_redir_neigh next = {.nh_family = AF_INET6};
	if (is_ipv4(&sending->via)) {
		next.nh_family = AF_INET;
		next.ipv4_nh = sending->via.word[3];
	} else {
		__builtin_memcpy(next.ipv6_nh, sending->via.word, sizeof(next.ipv6_nh));
	}
	return bpf_redirect_neigh(sending->interface, &next, sizeof(next), 0);
}

/* FULLNAT over TCP: what is there to say of the client, and has the server heard it? */
static __always_inline void prepare_fullnat(const struct packet *packet, const struct decision *decision,
					    struct sending *sending)
{
	bool syn = packet->tcp_flags & TCP_SYN;
	sending->tells_client = false;
	sending->offers = false;
	if (sending->method != METHOD_FULLNAT || !packet->tcp_header || packet->fragment)
		return;
	sending->tcp_header = packet->tcp_header;
	if (!sending->request) {
		sending->offers = syn;
		if (!syn && decision->owner)
			settle(decision->owner);
		return;
	}
	sending->tells_client =
		!syn && !sending->segmented && !(decision->control & SETTLED) && !(packet->tcp_flags & TCP_RST);
}

static __always_inline bool has_other_sctp_ports(const struct sending *sending)
{
	return sending->from.protocol == IPPROTO_SCTP && sending->l4_offset && sending->from.ports != sending->to.ports;
}

/* Before anything else of the packet changes. A checksum of 0 is yet to be computed, by the card; one that was wrong stays wrong. */
__noinline int mend_sctp_checksum(struct __sk_buff *skb, struct sending *sending)
{
	if (!sending)
		return false;
	__u32 check, at = sending->l4_offset + offsetof(struct sctphdr, checksum);
	if (bpf_skb_load_bytes(skb, at, &check, sizeof(check)))
		return false;
	if (!check)
		return true;
	check ^= crc_change(sending->from.ports ^ sending->to.ports,
			    sending->length + sizeof(struct ethhdr) - sending->l4_offset);
	return !bpf_skb_store_bytes(skb, at, &check, sizeof(check), BPF_F_RECOMPUTE_CSUM);
}

/* A packet's decision, as sending needs it. */
static __always_inline void prepare(struct __sk_buff *skb, const struct packet *packet, const struct decision *decision,
				    enum verdict verdict, struct sending *sending)
{
	const struct server *server = decision->server;
	sending->from = packet->tuple;
	sending->to = packet->tuple;
	sending->inner = inner_of(packet);
	sending->inner.tunnel = server->tunnel;
	sending->server = decision->server_index;
	sending->l4_offset = is_later_fragment(packet) ? 0 : packet->l4_offset;
	sending->options = packet->options;
	sending->segmented = skb->gso_size;
	sending->length = skb->gso_size ? skb->gso_size + packet->headers : packet->length;
	sending->method = decision->connection ? method_of(decision->control) : server->method;
	sending->request = verdict == VERDICT_REQUEST;
	struct rewriting to = rewriting_of(packet->tuple.ports, decision, sending->method, verdict);
	sending->to.ports = to.ports;
	if (to.source)
		sending->to.source = *to.source;
	if (to.destination)
		sending->to.destination = *to.destination;
	sending->mtu = 0; /* not known yet */
	sending->cut = false;
	prepare_fullnat(packet, decision, sending);
}
