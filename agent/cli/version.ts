import { bundle } from '../../core/runtime/bundle.ts'
import type { ExitCode } from '../../core/cli/exit.ts'
import type { Io } from './io.ts'

export const VERSION = bundle?.version ?? 'development'

export async function printVersion(o: { readonly json: boolean }, io: Io): Promise<ExitCode> {
  const facts = { version: VERSION, builtAt: bundle?.builtAt ?? null }
  io.out(
    o.json
      ? `${JSON.stringify(facts)}\n`
      : `meshlet ${facts.version}${facts.builtAt ? `, built from sources of ${facts.builtAt}` : ''}\n`,
  )
  return 0
}
