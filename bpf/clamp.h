/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The VIP's own SYNs offer no larger segments than fit through the tunnel in which the client's answers will come. */
#pragma once

#include "mss.h"
#include "realserver_maps.h"
#include "tunnel.h"

enum { TCP_SYN = 0x02 };
/* Gives the MSS's limit and where the TCP header is; 0 where the packet is no SYN of a VIP. */
static __always_inline __u16 parse_syn(struct __sk_buff *skb, const struct realserver_settings *settings, __u32 *tcp_at,
				       __u32 *options)
{
	struct cursor cursor = {(void *)(long)skb->data, (void *)(long)skb->data_end};
	struct ethhdr *eth = take(&cursor, struct ethhdr);
	struct address source;
	__u16 limit;
	if (!eth)
		return 0;
	if (skb->protocol == bpf_htons(ETH_P_IP)) {
		struct iphdr *ip = take(&cursor, struct iphdr);
		if (!ip || ip->ihl < 5 || ip->protocol != IPPROTO_TCP || ip->frag_off & bpf_htons(FRAGMENT_OFFSET))
			return 0;
		__u32 header = ip->ihl * 4;
		cursor.position = ip;
		if (!take_bytes(&cursor, header))
			return 0;
		*tcp_at = sizeof(*eth) + header;
		source = ipv4_address(ip->saddr);
		limit = settings->mss_ipv4;
	} else if (skb->protocol == bpf_htons(ETH_P_IPV6)) {
		struct ipv6hdr *ip6 = take(&cursor, struct ipv6hdr);
		if (!ip6 || ip6->nexthdr != IPPROTO_TCP)
			return 0;
		*tcp_at = sizeof(*eth) + sizeof(*ip6);
		source = ipv6_address(ip6->saddr);
		limit = settings->mss_ipv6;
	} else {
		return 0;
	}
	struct tcphdr *tcp = take(&cursor, struct tcphdr);
	if (!tcp || !(tcp->flags & TCP_SYN) || tcp->doff < 5 || !is_a(&source, ADDRESS_VIP))
		return 0;
	*options = tcp->doff * 4 - sizeof(*tcp);
	return limit;
}

static __always_inline void clamp(struct __sk_buff *skb, __u32 tcp_at, __u32 mss_at, __u16 limit)
{
	__be16 mss;
	if (!bpf_skb_load_bytes(skb, mss_at, &mss, sizeof(mss)) && bpf_ntohs(mss) > limit &&
	    write_mss(skb, tcp_at, mss_at, mss, bpf_htons(limit)))
		count(COUNT_CLAMPED);
}
