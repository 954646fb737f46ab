/** A table that scrolls by itself where the screen is narrow; its name is for who cannot see it. */
import type { ComponentChildren } from 'preact'

/** `number`: set to the right, as its cells are. */
export type Column = string | { readonly text: string; readonly kind: 'number' | 'hidden' }
/** Of cells with buttons. */
export const DECISIONS: Column = { text: 'Decisions', kind: 'hidden' }

export const Table = (p: {
  readonly label: string
  readonly columns: readonly Column[]
  readonly children: ComponentChildren
}) => (
  <div class="scroll" tabIndex={0} role="region" aria-label={p.label}>
    <table>
      <thead>
        <tr>{p.columns.map(toHead)}</tr>
      </thead>
      <tbody>{p.children}</tbody>
    </table>
  </div>
)

function toHead(column: Column) {
  const { text, kind } = typeof column === 'string' ? { text: column, kind: undefined } : column
  return (
    <th scope="col" key={text} {...(kind === 'number' ? { class: kind } : {})}>
      {kind === 'hidden' ? <span class="hidden">{text}</span> : text}
    </th>
  )
}
