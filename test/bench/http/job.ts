/** What a subject is, and is asked to be. */
import type { BenchCertificates } from '../certificates.ts'

export const HTTP_CASES = ['plain', 'mtls', 'h2c', 'h2cLarge'] as const
export type HttpCase = (typeof HTTP_CASES)[number]
export type HttpJob = {
  readonly case: HttpCase
  readonly port: number
  readonly originPort: number
  readonly dir: string
  readonly certificates: BenchCertificates
}

export type HttpSubject = {
  readonly name: string
  /** Throws where it cannot be had. */
  prepare(job: HttpJob): { readonly command: string; readonly args: readonly string[] }
}
