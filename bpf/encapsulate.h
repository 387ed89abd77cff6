/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* TUN on the complete path, with the checksums that it can ask for. */
#pragma once

/* The outer headers as they are on the wire, whatever their family and kind. */
struct outer {
	__u8 bytes[64];
};
_Static_assert(MOST_OUTER <= sizeof(struct outer), "the longest outer headers fit");

static __always_inline __u64 room_flags(const struct server *server, const struct sending *sending)
{
	__u64 flags = is_ipv4(&server->address) ? BPF_F_ADJ_ROOM_ENCAP_L3_IPV4 : BPF_F_ADJ_ROOM_ENCAP_L3_IPV6;
	if (server->tunnel.type == TUNNEL_GUE)
		flags |= BPF_F_ADJ_ROOM_ENCAP_L4_UDP;
	else if (server->tunnel.type == TUNNEL_GRE)
		flags |= BPF_F_ADJ_ROOM_ENCAP_L4_GRE;
	/* a datagram is not to be cut otherwise than its sender wanted */
	return sending->from.protocol == IPPROTO_UDP ? flags | BPF_F_ADJ_ROOM_FIXED_GSO : flags;
}

static __always_inline void fill_tunnel(void *header, const struct server *server, const struct inner *inner)
{
	if (server->tunnel.type == TUNNEL_GUE)
		fill_gue(header, header + sizeof(struct udphdr), &server->tunnel, inner);
	else if (server->tunnel.type == TUNNEL_GRE)
		fill_gre(header, &server->tunnel, inner);
}

__noinline int encapsulate_tc(struct __sk_buff *skb, struct sending *sending)
{
	struct server *server = sending ? server_at(sending->server) : NULL;
	if (!server)
		return false;
	bool ipv4 = is_ipv4(&server->address);
	__u32 added = overhead(server);
	struct outer outer = {};
	if (bpf_skb_adjust_room(skb, added, BPF_ADJ_ROOM_MAC, room_flags(server, sending)))
		return false;
	__be16 kind = ipv4 ? bpf_htons(ETH_P_IP) : bpf_htons(ETH_P_IPV6);
	if (bpf_skb_store_bytes(skb, offsetof(struct ethhdr, h_proto), &kind, sizeof(kind), 0))
		return false;
	if (ipv4) {
		fill_outer_ipv4((struct iphdr *)outer.bytes, server, &sending->inner);
		fill_tunnel(outer.bytes + sizeof(struct iphdr), server, &sending->inner);
	} else {
		fill_outer_ipv6((struct ipv6hdr *)outer.bytes, server, &sending->inner);
		fill_tunnel(outer.bytes + sizeof(struct ipv6hdr), server, &sending->inner);
	}
	if (added < sizeof(struct iphdr) || added > sizeof(struct outer))
		return false;
	return !bpf_skb_store_bytes(skb, sizeof(struct ethhdr), outer.bytes, added, 0);
}
