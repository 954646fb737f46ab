/** A full collection now, which gives pages back to the system. Tens of milliseconds in the thread that asks for it: for a moment in which nobody waits. */
export function collect(): void {
  // Loaded only now: the start of the storage thread is waited for.
  const [v8, vm] = [process.getBuiltinModule('node:v8'), process.getBuiltinModule('node:vm')]
  v8.setFlagsFromString('--expose-gc')
  const gc = vm.runInNewContext('gc') as (options: { type: 'major'; flavor: 'last-resort' }) => void
  gc({ type: 'major', flavor: 'last-resort' })
}
