/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * ICMP and ICMPv6, on tc only: the errors that the director makes about packets that can't go on, and the errors of others about
 * packets of a connection, which follow the connection. All else of ICMP is for the host's own stack, which answers echo requests.
 */
#pragma once

#include "forward_tc.h"

enum {
	QUOTE_IPV4 = 576 - sizeof(struct iphdr) - sizeof(struct icmphdr),    /* RFC 1812, 4.3.2.3 */
	QUOTE_IPV6 = 1280 - sizeof(struct ipv6hdr) - sizeof(struct icmphdr), /* RFC 4443, 2.4 */
	LEAST_QUOTE = 28,
	MOST_MTU = 65535,
	ERRORS_A_SECOND = 1000,
	ERROR_TTL = 64,
	TOS_MASK = 0x1e,
	TOS_INTERNET_CONTROL = 0xc0,
	SUMMED_AT_ONCE = 512, /* the most that bpf_csum_diff takes */
	SUMMED_AT_MOST = 4,   /* so many pieces */
};

/* An error to be sent, about what lies in the frame from `at` on, as far as it is there. */
struct icmp_error {
	struct address from;
	struct address to;
	__u32 at;
	__u32 length;
	__be32 rest;
	__u8 type;
	__u8 code;
	bool forwarded; /* it is quoted with a TTL that is one less than in the frame */
	__u8 pad;
};

/* The header of an IPv4 or IPv6 packet. */
struct ip_header {
	struct tuple tuple; /* without its ports */
	__u32 length;	    /* of the whole packet */
	__u32 l4;	    /* where in the frame layer 4 begins */
	__u16 later;	    /* a fragment that is not its datagram's first */
	__u8 ttl;
	__u8 tos;
	bool dont_fragment;
};

/* An ICMP error: the packet that carries it, and the one that it quotes, of which what lies before `end` is there. */
struct related {
	struct ip_header outer;
	struct ip_header quoted;
	struct icmphdr icmp;
	__u32 end;
};

/* What stands before a quote. */
union icmp_headers {
	struct {
		struct iphdr ip;
		struct icmphdr icmp;
	} ipv4;
	struct {
		struct ipv6hdr ip6;
		struct icmphdr icmp;
	} ipv6;
};

/* What is still to be done with a frame, beside the actions of tc: there, where the stack has room for it again. */
enum { THEN_TRANSMIT = -1, THEN_QUOTE = -2, THEN_SCHEDULE = -3, THEN_RELAY = -4 };

/* What one CPU works with, because the stack has no room for it; and how many errors it has sent in this second. */
struct icmp_room {
	struct related related;
	struct icmp_error error;
	union icmp_headers headers;
	struct bpf_fib_lookup fib;
	struct bpf_redir_neigh next;
	struct tuple outer;  /* what a relayed error's */
	struct tuple quoted; /* and its quote's become */
	__u32 second;
	__u32 sent;
	__u8 bytes[3 * SUMMED_AT_ONCE]; /* what is quoted; the verifier looks at it in such pieces */
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct icmp_room);
} icmp_rooms SEC(".maps");

static __always_inline __u16 fold_sum(__u64 sum)
{
	sum = (sum & 0xffffffff) + (sum >> 32);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return (sum & 0xffff) + (sum >> 16);
}

/* The ones' complement sum of some bytes (a multiple of 4), added to another. */
static __always_inline __u32 sum_of(const void *bytes, __u64 size, __u32 sum)
{
	return bpf_csum_diff(NULL, 0, bytes, size, sum);
}

/* What a checksum becomes when the sum of what it covers changes (RFC 1624). */
static __always_inline __u16 patched(__u16 checksum, __u64 difference)
{
	return ~fold_sum((__u16)~checksum + difference);
}

static __always_inline struct icmp_room *own_room(void)
{
	__u32 zero = 0;
	return bpf_map_lookup_elem(&icmp_rooms, &zero);
}

static __always_inline bool within_limit(struct icmp_room *room)
{
	__u32 second = now_in_ticks() / TICKS_A_SECOND;
	if (room->second != second) {
		room->second = second;
		room->sent = 0;
	}
	if (room->sent >= ERRORS_A_SECOND)
		return false;
	room->sent++;
	return true;
}

/* A frame in the place of the one that came, by the way that it came: for where the kernel isn't asked for routes. */
static __always_inline int send_back(struct __sk_buff *skb)
{
	__u8 macs[2 * ETH_ALEN], swapped[2 * ETH_ALEN];
	if (bpf_skb_load_bytes(skb, 0, macs, sizeof(macs)))
		return TC_ACT_SHOT;
	__builtin_memcpy(swapped, macs + ETH_ALEN, ETH_ALEN);
	__builtin_memcpy(swapped + ETH_ALEN, macs, ETH_ALEN);
	return put(skb, 0, swapped, sizeof(swapped)) ? bpf_redirect(skb->ifindex, 0) : TC_ACT_SHOT;
}

/* The director's own error goes to the packet's sender by a route, if the kernel forwards at all. */
static __noinline int send_by_route(struct __sk_buff *skb, struct icmp_room *room)
{
	struct bpf_fib_lookup *fib = &room->fib;
	if (is_here(skb))
		return hand_over(skb);
	__builtin_memset(fib, 0, sizeof(*fib));
	long result = look_up_route(skb, fib, &room->error.from, &room->error.to, skb->ifindex);
	if (result == BPF_FIB_LKUP_RET_FWD_DISABLED)
		return send_back(skb);
	if (result != BPF_FIB_LKUP_RET_SUCCESS && result != BPF_FIB_LKUP_RET_NO_NEIGH)
		return TC_ACT_SHOT;
	room->next.nh_family = fib->family;
	__builtin_memcpy(room->next.ipv6_nh, fib->ipv6_dst, sizeof(fib->ipv6_dst)); /* of IPv4 the first word counts */
	return bpf_redirect_neigh(fib->ifindex, &room->next, sizeof(room->next), 0);
}

/* In a way that the verifier of Linux 6.1 follows: one comparison, after which the number is made from what was compared. */
static __always_inline bool is_between_1_and(__u64 most, __u64 *number)
{
	__u64 less = *number - 1;
	only_from_here_on(less);
	if (less >= most)
		return false;
	only_from_here_on(less);
	*number = less + 1;
	return true;
}

/* The sum of the quote, behind which there are zeros to the next multiple of 4. */
static __always_inline __u32 sum_of_quote(struct icmp_room *room, __u64 length)
{
	__u32 sum = 0;
#pragma unroll
	for (__u32 at = 0; at < QUOTE_IPV6; at += SUMMED_AT_ONCE) {
		if (at && at >= length)
			break;
		__u64 size = (length - at + 3) & ~3ULL;
		if (size > SUMMED_AT_ONCE)
			size = SUMMED_AT_ONCE;
		sum = sum_of(room->bytes + at, size, sum);
	}
	return sum;
}

static __always_inline bool write_ipv4_error(struct __sk_buff *skb, struct icmp_room *room, __u32 length, __u32 sum)
{
	const struct icmp_error *error = &room->error;
	struct iphdr *ip = &room->headers.ipv4.ip;
	struct icmphdr *icmp = &room->headers.ipv4.icmp;
	__builtin_memset(&room->headers.ipv4, 0, sizeof(room->headers.ipv4));
	ip->version = 4;
	ip->ihl = 5;
	ip->tos = (room->bytes[offsetof(struct iphdr, tos)] & TOS_MASK) | TOS_INTERNET_CONTROL;
	ip->tot_len = bpf_htons(sizeof(*ip) + sizeof(*icmp) + length);
	ip->id = bpf_get_prandom_u32();
	ip->ttl = ERROR_TTL;
	ip->protocol = IPPROTO_ICMP;
	ip->saddr = error->from.word[3];
	ip->daddr = error->to.word[3];
	ip->check = ~fold_sum(sum_of(ip, sizeof(*ip), 0));
	icmp->type = error->type;
	icmp->code = error->code;
	icmp->rest = error->rest;
	icmp->checksum = ~fold_sum(sum_of(icmp, sizeof(*icmp), sum));
	return put(skb, sizeof(struct ethhdr), &room->headers.ipv4, sizeof(room->headers.ipv4));
}

/* The part of ICMPv6's checksum that is not in the message. */
static __always_inline __u32 pseudo_sum(const struct address *source, const struct address *destination, __u32 length)
{
	__be32 words[2] = {bpf_htonl(length), bpf_htonl(IPPROTO_ICMPV6)};
	__u32 sum = sum_of(source->word, sizeof(source->word), 0);
	sum = sum_of(destination->word, sizeof(destination->word), sum);
	return sum_of(words, sizeof(words), sum);
}

static __always_inline bool write_ipv6_error(struct __sk_buff *skb, struct icmp_room *room, __u32 length, __u32 sum)
{
	const struct icmp_error *error = &room->error;
	struct ipv6hdr *ip6 = &room->headers.ipv6.ip6;
	struct icmphdr *icmp = &room->headers.ipv6.icmp;
	__u32 payload = sizeof(*icmp) + length;
	__builtin_memset(&room->headers.ipv6, 0, sizeof(room->headers.ipv6));
	ip6->flow = bpf_htonl(0x60000000);
	ip6->payload_len = bpf_htons(payload);
	ip6->nexthdr = IPPROTO_ICMPV6;
	ip6->hop_limit = ERROR_TTL;
	__builtin_memcpy(ip6->saddr, error->from.word, sizeof(ip6->saddr));
	__builtin_memcpy(ip6->daddr, error->to.word, sizeof(ip6->daddr));
	icmp->type = error->type;
	icmp->code = error->code;
	icmp->rest = error->rest;
	__u64 all = (__u64)sum + pseudo_sum(&error->from, &error->to, payload);
	icmp->checksum = ~fold_sum(sum_of(icmp, sizeof(*icmp), 0) + all);
	return put(skb, sizeof(struct ethhdr), &room->headers.ipv6, sizeof(room->headers.ipv6));
}

/* The error that is described in the CPU's room takes the frame's place; so many bytes as its length says are to be quoted. */
__noinline int send_quoted(struct __sk_buff *skb)
{
	struct icmp_room *room = own_room();
	__u64 length = room ? READ_ONCE(room->error.length) : 0; /* so wide that Linux 6.1 keeps track of it */
	if (!room || length < LEAST_QUOTE || !is_between_1_and(QUOTE_IPV6, &length))
		return TC_ACT_SHOT;
	bool ipv4 = is_ipv4(&room->error.to);
	__u32 headers = ipv4 ? sizeof(room->headers.ipv4) : sizeof(room->headers.ipv6);
	__u32 quote_at = sizeof(struct ethhdr) + headers;
	__builtin_memset(room->bytes + length, 0, 3);
	__u32 sum = sum_of_quote(room, length);
	if (!reshape(skb, ipv4 ? bpf_htons(ETH_P_IP) : bpf_htons(ETH_P_IPV6), quote_at + length))
		return TC_ACT_SHOT;
	if (!put(skb, quote_at, room->bytes, length))
		return TC_ACT_SHOT;
	bool written = ipv4 ? write_ipv4_error(skb, room, length, sum) : write_ipv6_error(skb, room, length, sum);
	return written ? send_by_route(skb, room) : TC_ACT_SHOT;
}

/* The same, quoting what lies in the frame; not too often. */
__noinline int send_error(struct __sk_buff *skb)
{
	struct icmp_room *room = own_room();
	__u64 length = room ? READ_ONCE(room->error.length) : 0;
	if (!room || length < LEAST_QUOTE)
		return TC_ACT_SHOT;
	if (!within_limit(room)) {
		count(DROP_ICMP_LIMIT);
		return TC_ACT_SHOT;
	}
	bool ipv4 = is_ipv4(&room->error.to);
	if (ipv4 && length > QUOTE_IPV4)
		length = QUOTE_IPV4;
	if (length > QUOTE_IPV6)
		length = QUOTE_IPV6;
	if (bpf_skb_load_bytes(skb, room->error.at, room->bytes, length))
		return TC_ACT_SHOT;
	if (room->error.forwarded && ipv4)
		decrement_ttl((struct iphdr *)room->bytes);
	else if (room->error.forwarded)
		((struct ipv6hdr *)room->bytes)->hop_limit--;
	room->error.length = length;
	return send_quoted(skb);
}

/* Which drops the packet's sender is told about. */
static __always_inline bool tells(enum drop_reason reason)
{
	return reason == DROP_NO_SERVER || reason == DROP_NO_ROUTE || reason == DROP_TTL_EXCEEDED ||
	       reason == DROP_TOO_BIG || reason == DROP_NO_CONNECTION;
}

/* What the sender is told. */
static __always_inline void say_why(struct icmp_error *error, enum drop_reason reason, __u32 mtu, bool ipv4)
{
	error->type = ipv4 ? ICMP_DEST_UNREACH : ICMPV6_DEST_UNREACH;
	switch (reason) {
	case DROP_TTL_EXCEEDED:
		error->type = ipv4 ? ICMP_TIME_EXCEEDED : ICMPV6_TIME_EXCEEDED;
		return;
	case DROP_TOO_BIG:
		error->type = ipv4 ? ICMP_DEST_UNREACH : ICMPV6_PACKET_TOO_BIG;
		error->code = ipv4 ? ICMP_FRAG_NEEDED : 0;
		error->rest = bpf_htonl(mtu);
		error->forwarded = true;
		return;
	case DROP_NO_ROUTE:
		error->code = ipv4 ? ICMP_HOST_UNREACH : ICMPV6_ADDRESS_UNREACH;
		return;
	default:
		error->code = ipv4 ? ICMP_PORT_UNREACH : ICMPV6_PORT_UNREACH;
	}
}

static __always_inline bool read_ipv4_header(struct __sk_buff *skb, __u32 at, struct ip_header *header)
{
	struct iphdr ip;
	if (bpf_skb_load_bytes(skb, at, &ip, sizeof(ip)) || ip.version != 4 || ip.ihl < 5)
		return false;
	header->tuple.source = ipv4_address(ip.saddr);
	header->tuple.destination = ipv4_address(ip.daddr);
	header->tuple.protocol = ip.protocol;
	header->length = bpf_ntohs(ip.tot_len);
	header->l4 = at + ip.ihl * 4;
	header->later = ip.frag_off & bpf_htons(FRAGMENT_OFFSET);
	header->ttl = ip.ttl;
	header->tos = ip.tos;
	header->dont_fragment = ip.frag_off & bpf_htons(DONT_FRAGMENT);
	return true;
}

/* Of extension headers a fragment's is stepped over: a quote with others is no connection's. */
static __always_inline bool read_ipv6_header(struct __sk_buff *skb, __u32 at, struct ip_header *header)
{
	struct ipv6hdr ip6;
	struct frag_hdr fragment;
	if (bpf_skb_load_bytes(skb, at, &ip6, sizeof(ip6)) ||
	    (ip6.flow & bpf_htonl(0xf0000000)) != bpf_htonl(0x60000000))
		return false;
	header->tuple.source = ipv6_address(ip6.saddr);
	header->tuple.destination = ipv6_address(ip6.daddr);
	header->tuple.protocol = ip6.nexthdr;
	header->length = sizeof(ip6) + bpf_ntohs(ip6.payload_len);
	header->l4 = at + sizeof(ip6);
	header->later = 0;
	header->ttl = ip6.hop_limit;
	header->tos = bpf_ntohl(ip6.flow) >> 20;
	header->dont_fragment = true;
	if (ip6.nexthdr != IPPROTO_FRAGMENT)
		return true;
	if (bpf_skb_load_bytes(skb, header->l4, &fragment, sizeof(fragment)))
		return false;
	header->tuple.protocol = fragment.nexthdr;
	header->later = fragment.frag_off & bpf_htons(FRAGMENT_OFFSET6);
	header->l4 += sizeof(fragment);
	return true;
}

/* False for what is neither, or is not all there. */
__noinline int read_ip_header(struct __sk_buff *skb, __u32 at, struct ip_header *header)
{
	__u8 version;
	if (!header || bpf_skb_load_bytes(skb, at, &version, sizeof(version)))
		return false;
	switch (version >> 4) {
	case 4:
		return read_ipv4_header(skb, at, header);
	case 6:
		return read_ipv6_header(skb, at, header);
	}
	return false;
}

/*
 * A packet that has just been dropped for a reason, and is as it came: tell its sender, as the kernel does. The error comes from
 * the address that the packet was for, or from another one, if that is known. An ICMP error never causes another one.
 */
__noinline int send_icmp_error(struct __sk_buff *skb, __u32 reason, __u32 mtu, const struct address *from)
{
	struct icmp_room *room = own_room();
	if (!room)
		return TC_ACT_SHOT;
	struct ip_header *header = &room->related.outer;
	if (!read_ip_header(skb, sizeof(struct ethhdr), header) || (!is_here(skb) && hostile_source(&header->tuple)))
		return TC_ACT_SHOT;
	__u8 protocol = header->tuple.protocol;
	if (protocol == IPPROTO_ICMP || protocol == IPPROTO_ICMPV6)
		return TC_ACT_SHOT;
	room->error = (struct icmp_error){
		.from = header->tuple.destination,
		.to = header->tuple.source,
		.at = sizeof(struct ethhdr),
		.length = header->length,
	};
	if (from && from->half[0] | from->half[1] && !has_role(&header->tuple.destination, ADDRESS_VIP))
		room->error.from = *from;
	say_why(&room->error, reason, mtu, is_ipv4(&header->tuple.source));
	if (reason ==
	    DROP_NO_CONNECTION) /* as of all that the kernel doesn't forward: what it does is a hop further by then */
		room->error.forwarded = !same_address(&room->error.from, &header->tuple.destination);
	return send_error(skb);
}

/* -- the errors of others */

/* Where the quoted packet begins in the frame. */
static __always_inline __u32 quote_of(const struct related *related)
{
	return related->outer.l4 + sizeof(struct icmphdr);
}

static __always_inline bool is_error(const struct related *related)
{
	__u8 type = related->icmp.type;
	if (is_ipv4(&related->outer.tuple.source))
		return type == ICMP_DEST_UNREACH || type == ICMP_SOURCE_QUENCH || type == ICMP_TIME_EXCEEDED;
	return type >= ICMPV6_DEST_UNREACH && type <= ICMPV6_PARAMETER_PROBLEM;
}

/* The quoted packet's tuple. False if it isn't the first of its datagram, or its ports weren't quoted. */
static __always_inline bool read_quote(struct __sk_buff *skb, struct related *related, __u32 at)
{
	struct ip_header *quoted = &related->quoted;
	return read_ip_header(skb, at, quoted) && !quoted->later && quoted->l4 + sizeof(__u32) <= related->end &&
	       !bpf_skb_load_bytes(skb, quoted->l4, &quoted->tuple.ports, sizeof(__u32));
}

/* An error goes to the sender of what it quotes: any other quotes what was never sent. */
static __always_inline bool read_related(struct __sk_buff *skb, __u32 l4_offset, struct related *related)
{
	struct ip_header *outer = &related->outer;
	if (!read_ip_header(skb, sizeof(struct ethhdr), outer))
		return false;
	outer->l4 = l4_offset; /* parse() has stepped over all extension headers */
	related->end = sizeof(struct ethhdr) + outer->length;
	return !bpf_skb_load_bytes(skb, l4_offset, &related->icmp, sizeof(related->icmp)) && is_error(related) &&
	       !hostile_source(&outer->tuple) && read_quote(skb, related, quote_of(related)) &&
	       same_address(&outer->tuple.destination, &related->quoted.tuple.source);
}

static __always_inline void swap_ends(struct tuple *to, const struct tuple *from)
{
	to->source = from->destination;
	to->destination = from->source;
	to->ports = from->ports >> 16 | from->ports << 16;
	to->protocol = from->protocol;
}

/* As far as a message has a usual length: in what is longer a wrong one stays as wrong. */
static __noinline int checksum_is_wrong(struct __sk_buff *skb, struct icmp_room *room)
{
	const struct tuple *outer = &room->related.outer.tuple;
	__u32 at = room->related.outer.l4, sum = 0;
	__u64 length = room->related.end - at; /* so wide that Linux 6.1 keeps track of it */
	if (length > SUMMED_AT_MOST * SUMMED_AT_ONCE)
		return false;
	if (!is_ipv4(&outer->source))
		sum = pseudo_sum(&outer->source, &outer->destination, length);
	for (__u32 i = 0; i < SUMMED_AT_MOST && length; i++) {
		__u32 size = length < SUMMED_AT_ONCE ? length : SUMMED_AT_ONCE;
		size = bounded(size, SUMMED_AT_ONCE);
		if (bpf_skb_load_bytes(skb, at, room->bytes, size))
			return true;
		__builtin_memset(room->bytes + size, 0, 3);
		sum = sum_of(room->bytes, (size + 3) & ~3ULL, sum);
		at += size;
		length -= size;
	}
	return fold_sum(sum) != 0xffff;
}

/* Write two addresses in the place of others, and put the header's own checksum right; what that does to a sum over them. */
static __noinline __u64 replace_addresses(struct __sk_buff *skb, __u32 header, const struct tuple *from,
					  const struct tuple *to)
{
	const __u32 both = 2 * sizeof(struct address);
	if (!is_ipv4(&from->source)) { /* the two lie side by side in a tuple as in the header */
		put(skb, header + offsetof(struct ipv6hdr, saddr), &to->source, both);
		return bpf_csum_diff(&from->source, both, &to->source, both, 0);
	}
	__u16 check = 0;
	__u32 check_at = header + offsetof(struct iphdr, check);
	__be32 old[2] = {from->source.word[3], from->destination.word[3]};
	__be32 new[2] = {to->source.word[3], to->destination.word[3]};
	__u64 difference = bpf_csum_diff(old, sizeof(old), new, sizeof(new), 0);
	bpf_skb_load_bytes(skb, check_at, &check, sizeof(check));
	check = patched(check, difference);
	put(skb, check_at, &check, sizeof(check));
	put(skb, header + offsetof(struct iphdr, saddr), new, sizeof(new));
	return difference;
}

/* Where the transport checksum of a quoted packet is, as far as it was quoted and covers addresses; 0 for nowhere. */
static __always_inline __u32 quoted_checksum(const struct related *related)
{
	__u32 at = related->quoted.l4;
	switch (related->quoted.tuple.protocol) {
	case IPPROTO_TCP:
		at += offsetof(struct tcphdr, check);
		break;
	case IPPROTO_UDP:
		at += offsetof(struct udphdr, check);
		break;
	default:
		return 0;
	}
	return at + sizeof(__u16) <= related->end ? at : 0;
}

/* The quoted transport checksum follows a change of what it covers; what that does to a sum over itself. */
static __noinline __u64 replace_quoted_checksum(struct __sk_buff *skb, const struct related *related, __u64 difference)
{
	__u16 old, new;
	__u32 at = quoted_checksum(related);
	bool udp = related->quoted.tuple.protocol == IPPROTO_UDP;
	if (!at || bpf_skb_load_bytes(skb, at, &old, sizeof(old)) || (udp && !old))
		return 0;
	new = patched(old, difference);
	if (udp && !new)
		new = 0xffff;
	put(skb, at, &new, sizeof(new));
	return (__u64)(__u16)~old + new;
}

/* An error about a packet that was rewritten becomes one about the packet as its sender knows it. */
static __noinline int rewrite_related(struct __sk_buff *skb, struct icmp_room *room)
{
	const struct related *related = &room->related;
	const struct tuple *was = &related->quoted.tuple;
	__u32 check_at = related->outer.l4 + offsetof(struct icmphdr, checksum);
	__u64 quoted = replace_addresses(skb, quote_of(related), was, &room->quoted);
	__u64 ports = bpf_csum_diff(&was->ports, sizeof(__u32), &room->quoted.ports, sizeof(__u32), 0);
	__u64 difference = ports + replace_quoted_checksum(skb, related, quoted + ports);
	__u64 outer = replace_addresses(skb, sizeof(struct ethhdr), &related->outer.tuple, &room->outer);
	if (!is_ipv4(&was->source)) /* in IPv4 the quoted header's checksum makes up for its addresses */
		difference += quoted + outer;
	__u16 check = patched(related->icmp.checksum, difference);
	return put(skb, related->quoted.l4, &room->quoted.ports, sizeof(__u32)) &&
	       put(skb, check_at, &check, sizeof(check));
}

/* The error is dropped, and nobody is told but who watches. */
static __always_inline int drop_related(enum drop_reason reason, struct icmp_room *room, struct connection *connection,
					struct server *server)
{
	count(reason);
	tell_drop(&room->related.outer.tuple, connection, server, reason);
	return TC_ACT_SHOT;
}

/* As the kernel counts them: like the packets of the connection, whose end they don't put off. */
static __always_inline void count_related(const struct server *server, __u32 server_index, enum verdict verdict,
					  __u32 length)
{
	__u32 service_index = server->service;
	if (server->phase != SERVER_AVAILABLE)
		return;
	count_packet(bpf_map_lookup_elem(&server_statistics, &server_index), verdict, length);
	count_packet(bpf_map_lookup_elem(&service_statistics, &service_index), verdict, length);
}

static __always_inline void tuple_of(struct tuple *to, struct connection *connection)
{
	to->source = connection->source;
	to->destination = connection->destination;
	to->ports = *ports_of(connection);
}

/* FULLNAT: the quoted packet was of the other family before it was rewritten. */
static __always_inline bool other_family(const struct icmp_room *room)
{
	return is_ipv4(&room->quoted.source) != is_ipv4(&room->related.quoted.tuple.source);
}

/* The other side's slot is the tuple that the quoted packet had before it was rewritten. One-packet scheduling has no slots. */
static __always_inline bool know_other_side(struct icmp_room *room, struct connection *connection)
{
	struct connection *peer = connection ? peer_of(connection) : NULL;
	if (peer && phase_of(READ_ONCE(peer->control)) == PHASE_LIVE)
		tuple_of(&room->quoted, peer);
	else if (connection)
		return false;
	return true;
}

/* NAT and FULLNAT. */
static __noinline int restore_quote(struct __sk_buff *skb, struct icmp_room *room, struct connection *connection,
				    bool reply)
{
	if (!know_other_side(room, connection))
		return DROP_ENDED;
	if (checksum_is_wrong(skb, room))
		return DROP_CHECKSUM;
	if (other_family(room))
		return DROP_REASONS;
	room->outer.source = reply ? room->quoted.destination : room->related.outer.tuple.source;
	room->outer.destination = room->quoted.source;
	return rewrite_related(skb, room) ? DROP_REASONS : DROP_REWRITE;
}

/*
 * Say what an ICMP error said in the words of the family that hears of it (RFC 7915, 4.2 and 5.2). Gives the MTU, if that is what it
 * is about, 0 if not, and less for what can't be said or is not to be believed.
 */
static __always_inline __s32 say_again(struct icmp_error *error, const struct related *related)
{
	const struct icmphdr *icmp = &related->icmp;
	bool was_ipv4 = is_ipv4(&related->outer.tuple.source), ipv4 = is_ipv4(&error->to);
	__u32 mtu = bpf_ntohl(icmp->rest);
	error->type = icmp->type;
	error->code = icmp->code;
	error->rest = icmp->rest;
	if (was_ipv4 ? icmp->type == ICMP_DEST_UNREACH && icmp->code == ICMP_FRAG_NEEDED
		     : icmp->type == ICMPV6_PACKET_TOO_BIG) {
		error->type = ipv4 ? ICMP_DEST_UNREACH : ICMPV6_PACKET_TOO_BIG;
		error->code = ipv4 ? ICMP_FRAG_NEEDED : 0;
		mtu = mtu < MOST_MTU ? mtu : MOST_MTU;
		return mtu < IPV4_LEAST_MTU ? -1 : (__s32)mtu;
	}
	if (was_ipv4 == ipv4)
		return 0;
	error->rest = 0;
	if (icmp->type == (was_ipv4 ? ICMP_TIME_EXCEEDED : ICMPV6_TIME_EXCEEDED)) {
		error->type = ipv4 ? ICMP_TIME_EXCEEDED : ICMPV6_TIME_EXCEEDED;
		return 0;
	}
	error->type = ipv4 ? ICMP_DEST_UNREACH : ICMPV6_DEST_UNREACH;
	error->code = ipv4 ? ICMP_HOST_UNREACH : ICMPV6_ADDRESS_UNREACH;
	return icmp->type == (was_ipv4 ? ICMP_DEST_UNREACH : ICMPV6_DEST_UNREACH) ? 0 : -1;
}

/* The MTU is `more` for who hears of it, but never less than any link of its family has. */
static __always_inline void say_mtu(struct icmp_error *error, __s32 mtu, __s32 more)
{
	__s32 least = is_ipv4(&error->to) ? IPV4_LEAST_MTU : IPV6_LEAST_MTU;
	error->rest = bpf_htonl(mtu + more > least ? mtu + more : least);
}

/* The quoted packet's header as it was in the other family, with which the bytes to quote begin. */
static __always_inline void write_quoted_header(struct icmp_room *room, bool ipv4, __u32 payload)
{
	const struct tuple *tuple = &room->quoted;
	const struct ip_header *was = &room->related.quoted;
	struct iphdr *ip = (struct iphdr *)room->bytes;
	struct ipv6hdr *ip6 = (struct ipv6hdr *)room->bytes;
	__builtin_memset(room->bytes, 0, sizeof(*ip6));
	if (!ipv4) {
		ip6->flow = bpf_htonl(0x60000000 | (__u32)was->tos << 20);
		ip6->payload_len = bpf_htons(payload);
		ip6->nexthdr = was->tuple.protocol;
		ip6->hop_limit = was->ttl;
		__builtin_memcpy(ip6->saddr, tuple->source.word, sizeof(ip6->saddr));
		__builtin_memcpy(ip6->daddr, tuple->destination.word, sizeof(ip6->daddr));
		return;
	}
	ip->version = 4;
	ip->ihl = 5;
	ip->tos = was->tos;
	ip->tot_len = bpf_htons(payload + sizeof(*ip));
	ip->frag_off = bpf_htons(DONT_FRAGMENT);
	ip->ttl = was->ttl;
	ip->protocol = was->tuple.protocol;
	ip->saddr = tuple->source.word[3];
	ip->daddr = tuple->destination.word[3];
	ip->check = ~fold_sum(sum_of(ip, sizeof(*ip), 0));
}

/* What the change of addresses and ports does to a sum over them, of which IPv4 has fewer words. */
static __noinline __u64 family_difference(const struct icmp_room *room, bool ipv4)
{
	const struct tuple *six = ipv4 ? &room->related.quoted.tuple : &room->quoted;
	const struct tuple *four = ipv4 ? &room->quoted : &room->related.quoted.tuple;
	__be32 pair[2] = {four->source.word[3], four->destination.word[3]};
	__u64 ports =
		bpf_csum_diff(&room->related.quoted.tuple.ports, sizeof(__u32), &room->quoted.ports, sizeof(__u32), 0);
	if (ipv4)
		return ports + bpf_csum_diff(&six->source, 2 * sizeof(struct address), pair, sizeof(pair), 0);
	return ports + bpf_csum_diff(pair, sizeof(pair), &six->source, 2 * sizeof(struct address), 0);
}

/* The ports and, if it was quoted, the checksum of the layer 4 that was copied behind a header. */
static __always_inline void rewrite_copied(struct icmp_room *room, __u8 *l4, __u64 part, bool ipv4)
{
	bool udp = room->quoted.protocol == IPPROTO_UDP, tcp = room->quoted.protocol == IPPROTO_TCP;
	__u16 *check = (__u16 *)(l4 + (udp ? offsetof(struct udphdr, check) : offsetof(struct tcphdr, check)));
	*(__u32 *)l4 = room->quoted.ports;
	if (part < (udp ? sizeof(struct udphdr) : offsetof(struct tcphdr, urg_ptr)) || !(udp || tcp) ||
	    (udp && !*check))
		return;
	__u16 made = patched(*check, family_difference(room, ipv4));
	*check = udp && !made ? 0xffff : made;
}

/* An error about a packet of FULLNAT between the families becomes one of the other family; a new one, as the packet itself was. */
static __noinline int translate(struct __sk_buff *skb, struct icmp_room *room)
{
	const struct related *related = &room->related;
	const struct ip_header *was = &related->quoted;
	bool ipv4 = is_ipv4(&room->quoted.source);
	__u64 header = ipv4 ? sizeof(struct iphdr) : sizeof(struct ipv6hdr);
	__u64 most = (ipv4 ? QUOTE_IPV4 : QUOTE_IPV6) - header, part = related->end - was->l4;
	room->error = (struct icmp_error){.from = room->quoted.destination, .to = room->quoted.source};
	room->quoted.protocol = was->tuple.protocol;
	__s32 mtu = say_again(&room->error, related);
	if (mtu < 0)
		return TC_ACT_OK;
	if (mtu)
		say_mtu(&room->error, mtu, ipv4 ? -FAMILY_DIFFERENCE : FAMILY_DIFFERENCE);
	part = part < most ? part : most;
	if (part < sizeof(struct udphdr) || !is_between_1_and(QUOTE_IPV6 - sizeof(struct ipv6hdr), &part))
		return TC_ACT_OK;
	write_quoted_header(room, ipv4, was->length - (was->l4 - quote_of(related)));
	if (bpf_skb_load_bytes(skb, was->l4, room->bytes + header, part))
		return TC_ACT_OK;
	rewrite_copied(room, room->bytes + header, part, ipv4);
	room->error.length = header + part;
	return THEN_QUOTE;
}

/* What sending needs to know: NAT and FULLNAT have done their part already, so the packet goes on as one of DR does. */
static __noinline int prepare_related(struct icmp_room *room, __u32 server_index, __u32 method, bool reply,
				      struct sending *sending)
{
	struct server *server = server_at(server_index);
	if (!server)
		return -1;
	const struct ip_header *outer = &room->related.outer;
	sending->from = outer->tuple;
	sending->to = reply ? room->outer : outer->tuple;
	sending->inner.length = outer->length;
	sending->inner.hash = fold_sum(room->related.quoted.tuple.ports);
	sending->inner.ipv4 = is_ipv4(&outer->tuple.source);
	sending->inner.ttl = outer->ttl - 1;
	sending->inner.tos = outer->tos;
	sending->inner.dont_fragment = outer->dont_fragment && knob(KNOB_PMTU_DISC);
	sending->inner.tunnel = server->tunnel;
	sending->server = server_index;
	sending->l4_offset = 0;
	sending->length = outer->length;
	sending->method = method == METHOD_TUN ? METHOD_TUN : METHOD_DR;
	sending->request = !reply;
	sending->segmented = false;
	sending->ttl_done = false;
	sending->cut = false;
	sending->ending = ENDS_ELSEWHERE;
	return 0;
}

/* `connection` is null for one-packet scheduling, whose room has the other side's tuple already. */
static __noinline int relay(struct __sk_buff *skb, struct icmp_room *room, struct connection *connection, __u64 control,
			    __u32 server_index)
{
	bool reply = side_of(control) == SIDE_SERVER;
	__u32 zero = 0, method = method_of(control), reason = DROP_REASONS;
	struct sending *sending = bpf_map_lookup_elem(&sendings, &zero);
	struct server *server = server_at(server_index);
	if (!server || !sending)
		return TC_ACT_OK;
	bool local = reply ? control & HERE : server->local;
	if (room->related.outer.ttl <= 1 && !local)
		return drop_related(DROP_TTL_EXCEEDED, room, connection, server);
	if (rewrites(method))
		reason = restore_quote(skb, room, connection, reply);
	if (reason != DROP_REASONS)
		return drop_related(reason, room, connection, server);
	if (rewrites(method) && other_family(room)) {
		count_related(server, server_index, reply ? VERDICT_REPLY : VERDICT_REQUEST,
			      room->related.outer.length);
		return translate(skb, room);
	}
	prepare_related(room, server_index, method, reply, sending);
	reason = local ? DROP_REASONS : find_exit(skb, server, sending);
	if (reason != DROP_REASONS)
		return drop_related(reason, room, connection, server);
	count_related(server, server_index, reply ? VERDICT_REPLY : VERDICT_REQUEST, sending->length);
	if (local && !reply)
		return TC_ACT_OK;
	if (local)
		sending->ending = ending_here(skb, false);
	return THEN_TRANSMIT;
}

/* -- errors about the tunnel packets that the director made */

enum { LEAST_OUTER_MTU = 552 }; /* the kernel's net.ipv4.route.min_pmtu */

/* Where the packet begins that a quoted tunnel packet carries; 0 where it carries none. */
static __always_inline __u32 carried_by(struct __sk_buff *skb, const struct ip_header *quoted)
{
	struct guehdr gue;
	__be16 gre_flags = quoted->tuple.ports;
	switch (quoted->tuple.protocol) {
	case IPPROTO_IPIP:
	case IPPROTO_IPV6:
		return quoted->l4;
	case IPPROTO_GRE:
		return quoted->l4 + sizeof(struct grehdr) +
		       (gre_flags & bpf_htons(GRE_CHECKSUM) ? GRE_CHECKSUM_BYTES : 0);
	case IPPROTO_UDP:
		if (bpf_skb_load_bytes(skb, quoted->l4 + sizeof(struct udphdr), &gue, sizeof(gue)) ||
		    gue.form & ~GUE_PRIVATE_WORDS)
			return 0;
		return quoted->l4 + sizeof(struct udphdr) + sizeof(gue) + gue.form * 4;
	}
	return 0;
}

static __always_inline bool made_tunnel(const struct server *server, const struct tuple *outer)
{
	const struct tunnel *tunnel = &server->tunnel;
	if (!same_address(&server->address, &outer->destination) || !same_address(&server->source, &outer->source))
		return false;
	switch (outer->protocol) {
	case IPPROTO_GRE:
		return tunnel->type == TUNNEL_GRE;
	case IPPROTO_UDP:
		return tunnel->type == TUNNEL_GUE && tunnel->port == outer->ports >> 16;
	}
	return tunnel->type == TUNNEL_IPIP;
}

/* A tunnel packet was too big for a link: so must be no other one to that server for a while. */
static __always_inline void learn_mtu(struct server *server, __s32 mtu)
{
	struct next_hop *hop = &server->next_hop;
	if ((__u32)mtu < READ_ONCE(hop->mtu))
		WRITE_ONCE(hop->mtu, mtu < LEAST_OUTER_MTU ? LEAST_OUTER_MTU : mtu);
}

/*
 * The client is told what happened to its packet in the tunnel, if enough was quoted to know it. The host's stack has no use for the
 * error: it has sent no such packet.
 */
static __noinline int relay_tunnel_error(struct __sk_buff *skb, struct icmp_room *room)
{
	struct related *related = &room->related;
	struct ip_header *quoted = &related->quoted;
	__u32 at = carried_by(skb, quoted);
	room->outer = quoted->tuple;
	if (!at || !read_quote(skb, related, at))
		return TC_ACT_OK;
	__u32 slot = find_slot(&quoted->tuple);
	struct connection *connection = slot ? slot_at(slot - 1) : NULL;
	if (!connection || method_of(READ_ONCE(connection->control)) != METHOD_TUN)
		return TC_ACT_OK;
	struct server *server = server_at(connection->server);
	if (!server || !made_tunnel(server, &room->outer))
		return TC_ACT_OK;
	room->error = (struct icmp_error){
		.from = quoted->tuple.destination,
		.to = quoted->tuple.source,
		.at = at,
		.length = related->end - at < quoted->length ? related->end - at : quoted->length,
	};
	__s32 mtu = say_again(&room->error, related);
	/* IPv4's routers cut what may be cut */
	if (mtu < 0 || (mtu && !quoted->dont_fragment && is_ipv4(&related->outer.tuple.source)))
		return TC_ACT_OK;
	if (mtu) {
		learn_mtu(server, mtu);
		say_mtu(&room->error, mtu, -(__s32)(at - quote_of(related)));
	}
	return send_error(skb);
}

static __always_inline int finish(struct __sk_buff *skb, int action)
{
	__u32 zero = 0;
	struct sending *sending = bpf_map_lookup_elem(&sendings, &zero);
	if (action == THEN_TRANSMIT)
		action = transmit(skb, sending);
	else if (action == THEN_QUOTE)
		action = send_quoted(skb);
	else
		return action;
	if (action == TC_ACT_SHOT)
		count(DROP_REWRITE);
	return action;
}

/*
 * The verdict about an ICMP packet that came with its layer 4 at an offset. What belongs to no connection is the host's own business,
 * unless it is to be scheduled.
 */
__noinline int relay_icmp(struct __sk_buff *skb, __u32 l4_offset)
{
	struct icmp_room *room = own_room();
	if (!room || !read_related(skb, l4_offset, &room->related))
		return TC_ACT_OK;
	swap_ends(&room->quoted, &room->related.quoted.tuple);
	__u32 slot = find_slot(&room->quoted);
	struct connection *connection = slot ? slot_at(slot - 1) : NULL;
	if (connection)
		return finish(skb, relay(skb, room, connection, READ_ONCE(connection->control), connection->server));
	return knob(KNOB_SCHEDULE_ICMP) ? THEN_SCHEDULE : relay_tunnel_error(skb, room);
}
