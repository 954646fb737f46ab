/**
 * What a device tells its hub of itself: how it is, and what it has counted. `quantities` change all the time and are
 * not worth a message alone; everything else is.
 */
import type { ReportDetails } from './report-details.ts'

/** Of one report; what is longer is cut by the device, and refused by the hub. */
export const REPORT_LIMITS = {
  /** Refused resources, problems, bridges and purposes. */
  entries: 32,
  textChars: 240,
  nameChars: 400,
  /** Services, and queues, that are named (control.reportRows). */
  rows: 64,
  rowNameChars: 160,
  /** Of a whole report as it travels, unpacked. */
  bytes: 48 * 1024,
} as const

export type ReportedState = 'starting' | 'ready' | 'draining'
export type Report = {
  /** By chance, of one process: another one says that the device has started anew. */
  readonly run: number
  /** When the process began, milliseconds since the epoch by the device's clock, whole seconds. */
  readonly startedAtMs: number
  readonly version: string
  readonly platform: string
  readonly state: ReportedState
  /** Revision (system_version_info) that is in force as a whole; '' none is known. */
  readonly revision: string
  /** Of what the control plane sent last, be it refused or not. */
  readonly desired: string
  /** Of all resources in force (proto/relay/digest.ts), hex; the hub computes the same. */
  readonly content: string
  readonly refused: readonly RefusedResource[]
  readonly certificate: ReportedCertificate | undefined
  /** False: the clock shows less than it must be. */
  readonly clockTrusted: boolean
  readonly bridges: readonly ReportedBridge[]
  readonly problems: readonly ReportedProblem[]
  readonly quantities: Quantities
  /** Undefined: it does not say. */
  readonly details?: ReportDetails | undefined
}
export type RefusedResource = { readonly kind: string; readonly name: string; readonly reason: string }
export type ReportedCertificate = { readonly serial: string; readonly notAfterMs: number }
export type ReportedBridge = { readonly cluster: string; readonly state: string; readonly error: string }
/** Remedies stand in the catalogue of errors. */
export type ReportedProblem = { readonly code: string; readonly text: string }
export type Quantities = {
  /** Of the link to the hub, last measured; undefined: never. */
  readonly rttMs: number | undefined
  /** Since the start: connections to the hub, HTTP requests, and those that were answered with a 5xx. */
  readonly connections: number
  readonly requests: number
  readonly failures: number
  /** Messages that no receiver will get, whatever the reason. */
  readonly drops: number
  readonly spoolMessages: number
  readonly spoolBytes: number
  readonly spoolMaxBytes: number
  /** Since when it has been seen holding messages, by the device's clock, whole seconds; undefined: it is empty. */
  readonly spoolSinceMs: number | undefined
  /** Messages that wait for upstream brokers. */
  readonly bridged: number
  readonly mqttClients: number
  /** Of the link to the hub since the start, by purpose. */
  readonly bytes: readonly PurposeBytes[]
}
/** What carries the messages: frames, WebSocket, TLS. */
export const TRANSPORT = 'transport'
export type PurposeBytes = { readonly purpose: string; readonly sent: number; readonly received: number }
