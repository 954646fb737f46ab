/** What an attack is to its subject. */
import type { Attacker } from './attacker.ts'
import type { Ports } from './subject.ts'

export type Attack = {
  readonly name: string
  readonly against: 'exceptions' | 'framing' | 'counting' | 'memory' | 'authority'
  /** Resolves after about `ms`; throws when it got what it must not get. */
  run(a: Attacker, ports: Ports, ms: number): Promise<void>
}
