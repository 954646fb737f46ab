/** What a subject is, and is asked to be. */
import type { BenchCertificates } from '../certificates.ts'

export const HTTP_CASES = ['plain', 'large', 'mtls', 'inbound', 'h2c', 'h2cLarge'] as const
export type HttpCase = (typeof HTTP_CASES)[number]
export type HttpJob = {
  readonly case: HttpCase
  readonly port: number
  readonly originPort: number
  /** Takes spans, in clear. */
  readonly collectorPort: number
  readonly dir: string
  readonly certificates: BenchCertificates
}

/** Clients show a certificate. */
export const securesClients = (c: HttpCase): boolean => c === 'mtls' || c === 'inbound'
export const securesOrigin = (c: HttpCase): boolean => c === 'mtls'
export const speaksHttp2 = (c: HttpCase): boolean => c === 'h2c' || c === 'h2cLarge'

export type HttpSubject = {
  readonly name: string
  /** Throws where it cannot be had. */
  prepare(job: HttpJob): { readonly command: string; readonly args: readonly string[] }
}
