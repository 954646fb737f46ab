/**
 * grpc.health.v1.Health/Check (gRPC health checking protocol), its messages by hand: one text to ask with, one number as
 * the answer.
 */
import { findNumber, frameGrpc, MessageWriter, readGrpc } from '../../protobuf/message.ts'

export const SERVING = 1

/** HealthCheckRequest {string service = 1}. */
export function writeHealthRequest(service: string): Buffer {
  return frameGrpc(new MessageWriter().text(1, service).finish())
}

/** HealthCheckResponse {enum status = 1}; 0 (UNKNOWN) where there is none. @param framed a frame of gRPC, not compressed */
export function readServingStatus(framed: Buffer): number {
  const message = readGrpc(framed)
  return message ? findNumber(message, 1) : 0
}
