/** Files that give literal booleans by position, or take several. The list only gets shorter. */
export const STILL_POSITIONAL: readonly string[] = [
  // protocols/mqtt/
  'protocols/mqtt/connection/inflow.ts',
  'protocols/mqtt/session/subscribe.ts',
  'protocols/mqtt/topics/topic-tree.ts',
]
