/** A full collection now, which gives pages back to the system. Tens of milliseconds in the thread that asks for it: for a moment in which nobody waits. */
import v8 from 'node:v8'
import vm from 'node:vm'

export function collect(): void {
  v8.setFlagsFromString('--expose-gc')
  const gc = vm.runInNewContext('gc') as (options: { type: 'major'; flavor: 'last-resort' }) => void
  gc({ type: 'major', flavor: 'last-resort' })
}
