/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The kernel's state machine of a balanced SCTP association, as a table: [direction][event][state]. What can't be come by (a
 * state that a direction never leads to) stays.
 *
 * A packet's event stands in its `tcp_flags`, above the three bits that say for TCP whether it may open a connection; they say
 * so here, too.
 */
#pragma once

#include "direction.h"
#include "parse.h"

enum sctp_event {
	CHUNK_DATA, /* and all that the kernel doesn't tell from it */
	CHUNK_INIT,
	CHUNK_INIT_ACK,
	CHUNK_COOKIE_ECHO,
	CHUNK_COOKIE_ACK,
	CHUNK_SHUTDOWN,
	CHUNK_SHUTDOWN_ACK,
	CHUNK_SHUTDOWN_COMPLETE,
	CHUNK_ERROR,
	CHUNK_ABORT,
	CHUNK_EVENTS,
};

enum { SCTP_EVENT_SHIFT = 3, SCTP_EVENT_SLOTS = 16, SCTP_STATE_SLOTS = 16, SCTP_DIRECTIONS = 4 };
_Static_assert(STATES - STATE_SCTP_NONE <= SCTP_STATE_SLOTS, "every state has its place");

#define NO STATE_SCTP_NONE
#define I1 STATE_SCTP_INIT1
#define IN STATE_SCTP_INIT
#define CS STATE_SCTP_COOKIE_SENT
#define CR STATE_SCTP_COOKIE_REPLIED
#define CW STATE_SCTP_COOKIE_WAIT
#define CO STATE_SCTP_COOKIE
#define CE STATE_SCTP_COOKIE_ECHOED
#define ES STATE_SCTP_ESTABLISHED
#define SS STATE_SCTP_SHUTDOWN_SENT
#define SR STATE_SCTP_SHUTDOWN_RECEIVED
#define SA STATE_SCTP_SHUTDOWN_ACK_SENT
#define RJ STATE_SCTP_REJECTED
#define CL STATE_SCTP_CLOSED

/* clang-format off */
static const __u8 next_sctp_state[SCTP_DIRECTIONS][SCTP_EVENT_SLOTS][SCTP_STATE_SLOTS] = {
	[INPUT] = {			    /* NO  I1  IN  CS  CR  CW  CO  CE  ES  SS  SR  SA  RJ  CL */
		[CHUNK_DATA] =              {ES, I1, IN, CS, CR, CW, CO, CE, ES, SS, SR, SA, RJ, CL},
		[CHUNK_INIT] =              {I1, IN, IN, CS, CR, CW, CO, CE, ES, SS, SR, SA, IN, IN},
		[CHUNK_INIT_ACK] =          {CW, CW, CW, CS, CR, CO, CO, CE, ES, SS, SR, SA, RJ, CL},
		[CHUNK_COOKIE_ECHO] =       {CR, IN, IN, CR, CR, CW, CO, CE, ES, SS, SR, SA, RJ, CL},
		[CHUNK_COOKIE_ACK] =        {ES, I1, IN, CS, CR, CW, CO, ES, ES, SS, SR, SA, RJ, CL},
		[CHUNK_SHUTDOWN] =          {SR, I1, IN, CS, CR, CW, CO, CE, SR, SS, SR, SA, RJ, CL},
		[CHUNK_SHUTDOWN_ACK] =      {CL, IN, IN, CS, CR, CW, CO, CE, ES, CL, SR, CL, RJ, CL},
		[CHUNK_SHUTDOWN_COMPLETE] = {CL, CL, CL, CS, CR, CW, CO, CE, ES, SS, SR, CL, RJ, CL},
		[CHUNK_ERROR] =             {CL, I1, IN, CS, CR, CW, CO, CL, ES, SS, SR, SA, RJ, CL},
		[CHUNK_ABORT] =             {CL, CL, CL, CL, CL, RJ, CL, CL, CL, CL, CL, CL, CL, CL},
	},
	[OUTPUT] = {
		[CHUNK_DATA] =              {NO, I1, IN, CS, CR, CW, CO, CE, ES, SS, SR, SA, RJ, CL},
		[CHUNK_INIT] =              {NO, CW, CW, CW, CW, CW, CW, CW, ES, CW, CW, CW, CW, CW},
		[CHUNK_INIT_ACK] =          {NO, CS, CS, CS, CR, CW, CO, CE, ES, SS, SR, SA, RJ, CL},
		[CHUNK_COOKIE_ECHO] =       {NO, CE, CE, CE, CE, CE, CE, CE, ES, SS, SR, SA, RJ, CL},
		[CHUNK_COOKIE_ACK] =        {NO, ES, ES, ES, ES, ES, ES, ES, ES, SS, SR, SA, RJ, CL},
		[CHUNK_SHUTDOWN] =          {NO, SS, SS, SS, SS, SS, SS, SS, SS, SS, SR, SA, RJ, CL},
		[CHUNK_SHUTDOWN_ACK] =      {NO, SA, SA, SA, SA, CW, CO, CE, ES, SA, SA, SA, RJ, CL},
		[CHUNK_SHUTDOWN_COMPLETE] = {NO, I1, IN, CS, CR, CW, CO, CE, ES, SS, SR, SA, RJ, CL},
		[CHUNK_ERROR] =             {NO, CL, CL, CL, CL, CW, CO, CE, ES, SS, SR, SA, RJ, CL},
		[CHUNK_ABORT] =             {NO, RJ, CL, CL, CL, CL, CL, CL, CL, CL, CL, CL, CL, CL},
	},
	[INPUT_ONLY] = {
		[CHUNK_DATA] =              {ES, I1, IN, CS, CR, CW, CO, CE, ES, SS, SR, SA, RJ, CL},
		[CHUNK_INIT] =              {I1, IN, IN, CS, CR, CW, CO, CE, ES, SS, SR, SA, RJ, IN},
		[CHUNK_INIT_ACK] =          {CE, CE, CE, CS, CR, CW, CO, CE, ES, SS, SR, SA, RJ, CL},
		[CHUNK_COOKIE_ECHO] =       {ES, ES, ES, CS, CR, CW, CO, CE, ES, SS, SR, SA, RJ, CL},
		[CHUNK_COOKIE_ACK] =        {ES, I1, IN, CS, CR, CW, CO, ES, ES, SS, SR, SA, RJ, CL},
		[CHUNK_SHUTDOWN] =          {SR, I1, IN, CS, CR, CW, CO, CE, SR, SS, SR, SA, RJ, CL},
		[CHUNK_SHUTDOWN_ACK] =      {CL, IN, IN, CS, CR, CW, CO, CE, CL, SS, SR, SA, RJ, CL},
		[CHUNK_SHUTDOWN_COMPLETE] = {CL, CL, CL, CS, CR, CW, CO, CE, ES, SS, CL, SA, RJ, CL},
		[CHUNK_ERROR] =             {CL, I1, IN, CS, CR, CW, CO, CE, ES, SS, SR, SA, RJ, CL},
		[CHUNK_ABORT] =             {CL, CL, CL, CS, CR, CW, CO, CL, CL, SS, CL, SA, RJ, CL},
	},
};
/* clang-format on */

#undef NO
#undef I1
#undef IN
#undef CS
#undef CR
#undef CW
#undef CO
#undef CE
#undef ES
#undef SS
#undef SR
#undef SA
#undef RJ
#undef CL

static __always_inline __u32 sctp_state_after(__u32 state, __u32 direction, __u16 flags)
{
	__u32 event = flags >> SCTP_EVENT_SHIFT;
	__u32 before = state < STATE_SCTP_NONE ? 0 : state - STATE_SCTP_NONE;
	return next_sctp_state[direction % SCTP_DIRECTIONS][event % SCTP_EVENT_SLOTS][before % SCTP_STATE_SLOTS];
}
