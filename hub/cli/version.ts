import { bundle } from '../../core/runtime/bundle.ts'
import type { ExitCode } from '../../core/cli/exit.ts'
import type { Io } from './io.ts'

/** `meshlet-hub version` */
export async function printVersion(o: { readonly json: boolean }, io: Io): Promise<ExitCode> {
  const facts = { version: bundle?.version ?? 'development', builtAt: bundle?.builtAt ?? null }
  io.out(
    o.json
      ? `${JSON.stringify(facts)}\n`
      : `meshlet-hub ${facts.version}${facts.builtAt ? `, built from sources of ${facts.builtAt}` : ''}\n`,
  )
  return 0
}
