/**
 * A full collection now, which gives pages back to the system. Tens of milliseconds in the thread that asks for it: for
 * a moment in which nobody waits.
 */
export function collectAll(): void {
  gcOf()({ type: 'major', flavor: 'last-resort' })
}

/** As V8 does it by itself, but now: of what is young, a millisecond or two, or of everything. */
export function collectNow(type: 'minor' | 'major'): void {
  gcOf()({ type })
}

/**
 * For a small device: V8 gives young objects no more room than they have (it would be several times the semi space),
 * and inlines, optimizes and grows its heap with an eye on size. It collects more often for it. Without its middle
 * compiler (Maglev), whose jobs wait for their thread by the dozen when something new gets busy, and leave 12 MB of
 * malloc's memory in pieces.
 */
export function saveMemory(): void {
  const { setFlagsFromString } = process.getBuiltinModule('node:v8')
  for (const flag of ['--semi-space-growth-factor=1', '--optimize-for-size', '--memory-saver-mode', '--no-maglev'])
    setFlagsFromString(flag)
}

/**
 * V8 lets a heap of 20 MB grow fourfold before it collects what is old, and counts on a machine that has nothing else
 * to do with its memory. What waits for the disk gets old, and a peer can make as much wait as it likes.
 */
export function growSlowly(): void {
  process.getBuiltinModule('node:v8').setFlagsFromString('--heap-growing-percent=50')
}

/**
 * Young objects are collected by the thread that made them. For the few MiB that the unit gives them, to wake V8's
 * helpers and to wait for each costs more than they take over.
 */
export function collectYoungAlone(): void {
  process.getBuiltinModule('node:v8').setFlagsFromString('--no-parallel-scavenge')
}

type Gc = (options: { type: 'minor' | 'major'; flavor?: 'last-resort' }) => void
let made: Gc | undefined
function gcOf(): Gc {
  if (made) return made
  // Loaded only now: the start of the storage thread is waited for.
  const [v8, vm] = [process.getBuiltinModule('node:v8'), process.getBuiltinModule('node:vm')]
  v8.setFlagsFromString('--expose-gc')
  return (made = vm.runInNewContext('gc') as Gc)
}
