// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* A director's sending half, as small as it can be: on egress of the client, whatever goes to a VIP goes in a tunnel. */
#include "tunnel.h"

/* All addresses as in the data plane; the test sets them. */
const volatile struct {
	struct address vip[2];
	struct address source;
	struct address destination;
	__u32 type; /* enum tunnel_type */
	__u32 ipv6; /* the outer packet is */
} way __attribute__((section(".rodata.way")));

struct outer4 {
	struct iphdr ip;
	__u8 tunnel[sizeof(struct udphdr) + sizeof(struct guehdr)];
} __attribute__((packed));

struct outer6 {
	struct ipv6hdr ip;
	__u8 tunnel[sizeof(struct udphdr) + sizeof(struct guehdr)];
} __attribute__((packed));

static __always_inline bool is_vip(const struct address *address)
{
	bool first = address->half[0] == way.vip[0].half[0] && address->half[1] == way.vip[0].half[1];
	return first || (address->half[0] == way.vip[1].half[0] && address->half[1] == way.vip[1].half[1]);
}

static __always_inline __u32 fill_tunnel(__u8 *tunnel, __u32 length, bool inner_ipv6)
{
	if (way.type == TUNNEL_GRE) {
		struct grehdr gre = {.protocol = inner_ipv6 ? bpf_htons(ETH_P_IPV6) : bpf_htons(ETH_P_IP)};
		__builtin_memcpy(tunnel, &gre, sizeof(gre));
	} else if (way.type == TUNNEL_GUE) {
		struct udphdr udp = {.source = bpf_htons(50000), .dest = bpf_htons(6080), .len = bpf_htons(length)};
		struct guehdr gue = {.protocol = inner_ipv6 ? IPPROTO_IPV6 : IPPROTO_IPIP};
		__builtin_memcpy(tunnel, &udp, sizeof(udp));
		__builtin_memcpy(tunnel + sizeof(udp), &gue, sizeof(gue));
	}
	return way.type == TUNNEL_GRE	? IPPROTO_GRE
	       : way.type == TUNNEL_GUE ? IPPROTO_UDP
	       : inner_ipv6		? IPPROTO_IPV6
					: IPPROTO_IPIP;
}

SEC("tc")
int encapsulate(struct __sk_buff *skb)
{
	struct cursor cursor = {(void *)(long)skb->data, (void *)(long)skb->data_end};
	bool inner_ipv6 = skb->protocol == bpf_htons(ETH_P_IPV6);
	struct address target;
	if (!take(&cursor, struct ethhdr))
		return TC_ACT_OK;
	if (inner_ipv6) {
		struct ipv6hdr *ip6 = take(&cursor, struct ipv6hdr);
		if (!ip6)
			return TC_ACT_OK;
		target = ipv6_address(ip6->daddr);
	} else {
		struct iphdr *ip = take(&cursor, struct iphdr);
		if (!ip || skb->protocol != bpf_htons(ETH_P_IP))
			return TC_ACT_OK;
		target = ipv4_address(ip->daddr);
	}
	if (!is_vip(&target))
		return TC_ACT_OK;

	__u32 extra = way.type == TUNNEL_GRE   ? sizeof(struct grehdr)
		      : way.type == TUNNEL_GUE ? sizeof(struct udphdr) + sizeof(struct guehdr)
					       : 0;
	__u64 flags = BPF_F_ADJ_ROOM_FIXED_GSO | BPF_F_ADJ_ROOM_NO_CSUM_RESET;
	flags |= way.ipv6 ? BPF_F_ADJ_ROOM_ENCAP_L3_IPV6 : BPF_F_ADJ_ROOM_ENCAP_L3_IPV4;
	flags |= way.type == TUNNEL_GRE ? BPF_F_ADJ_ROOM_ENCAP_L4_GRE : 0;
	flags |= way.type == TUNNEL_GUE ? BPF_F_ADJ_ROOM_ENCAP_L4_UDP : 0;
	__u32 inner = skb->len - sizeof(struct ethhdr);
	__be16 kind = way.ipv6 ? bpf_htons(ETH_P_IPV6) : bpf_htons(ETH_P_IP);
	if (way.ipv6) {
		struct outer6 outer = {.ip = {.flow = bpf_htonl(0x60000000), .hop_limit = 63}};
		outer.ip.payload_len = bpf_htons(inner + extra);
		outer.ip.nexthdr = fill_tunnel(outer.tunnel, inner + extra, inner_ipv6);
		for (int i = 0; i < 4; i++) {
			outer.ip.saddr[i] = way.source.word[i];
			outer.ip.daddr[i] = way.destination.word[i];
		}
		if (bpf_skb_adjust_room(skb, sizeof(outer.ip) + extra, BPF_ADJ_ROOM_MAC, flags) ||
		    bpf_skb_store_bytes(skb, sizeof(struct ethhdr), &outer, sizeof(outer.ip) + extra, 0))
			return TC_ACT_SHOT;
	} else {
		struct outer4 outer = {.ip = {.version = 4, .ihl = 5, .ttl = 63, .frag_off = bpf_htons(DONT_FRAGMENT)}};
		outer.ip.tot_len = bpf_htons(inner + extra + sizeof(outer.ip));
		outer.ip.protocol = fill_tunnel(outer.tunnel, inner + extra, inner_ipv6);
		outer.ip.saddr = way.source.word[3];
		outer.ip.daddr = way.destination.word[3];
		outer.ip.check = ~fold(bpf_csum_diff(NULL, 0, &outer.ip, sizeof(outer.ip), 0));
		if (bpf_skb_adjust_room(skb, sizeof(outer.ip) + extra, BPF_ADJ_ROOM_MAC, flags) ||
		    bpf_skb_store_bytes(skb, sizeof(struct ethhdr), &outer, sizeof(outer.ip) + extra, 0))
			return TC_ACT_SHOT;
	}
	if (bpf_skb_store_bytes(skb, offsetof(struct ethhdr, h_proto), &kind, sizeof(kind), 0))
		return TC_ACT_SHOT;
	return TC_ACT_OK;
}

char _license[] SEC("license") = "Dual BSD/GPL";
