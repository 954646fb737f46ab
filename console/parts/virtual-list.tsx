/**
 * A long table of which only what is seen exists. Rows come in chunks, when they are scrolled to; arrow keys, Page Up
 * and Down, Home and End move from row to row as in a list.
 */
import type { ComponentChildren } from 'preact'
import { useEffect, useLayoutEffect, useRef, useState } from 'preact/hooks'
import { useRowFocus } from './row-focus.ts'

/** Above and below what is seen. */
const SPARE_ROWS = 8

type Props<T> = {
  readonly label: string
  readonly total: number
  readonly rowPx: number
  readonly head: ComponentChildren
  /** Undefined: not here yet; the list has told `seen` that it is wanted. */
  readonly rowAt: (index: number) => T | undefined
  readonly seen: (from: number, to: number) => void
  readonly children: (row: T) => ComponentChildren
  readonly keyOf: (row: T) => string
}

export function VirtualList<T>({ label, total, rowPx, head, rowAt, seen, children, keyOf }: Props<T>) {
  const scroller = useRef<HTMLDivElement>(null)
  const { view, measure } = useView(scroller, total, rowPx)
  const to = Math.min(view.to, total)
  useEffect(() => seen(view.from, to), [view.from, to, total])
  const onKeyDown = useRowFocus(scroller, { total, rowPx, page: Math.max(1, to - view.from - 2 * SPARE_ROWS), measure })
  const keyAt = (index: number): string | number => {
    const row = rowAt(index)
    return row === undefined ? index : keyOf(row)
  }
  const shown = (index: number): ComponentChildren => {
    const row = rowAt(index)
    return row === undefined ? <Pending /> : children(row)
  }
  const indices = Array.from({ length: Math.max(0, to - view.from) }, (_, i) => view.from + i)
  return (
    <div role="table" aria-label={label} aria-rowcount={total + 1} class="grid">
      <div role="rowgroup">
        <div role="row" aria-rowindex={1} class="grid-head">
          {head}
        </div>
      </div>
      <div
        role="rowgroup"
        class="grid-body"
        ref={scroller}
        onScroll={measure}
        onKeyDown={onKeyDown}
        tabIndex={total > 0 ? 0 : -1}
      >
        <div role="presentation" class="grid-space" style={{ height: `${total * rowPx}px` }}>
          {indices.map((index) => (
            <Row key={keyAt(index)} index={index} rowPx={rowPx}>
              {shown(index)}
            </Row>
          ))}
        </div>
      </div>
    </div>
  )
}

/** Rows that are seen, and some more. */
function useView(scroller: { readonly current: HTMLDivElement | null }, total: number, rowPx: number) {
  const [view, setView] = useState({ from: 0, to: 30 })
  const measure = (): void => {
    const { scrollTop = 0, clientHeight = 0 } = scroller.current ?? {}
    const from = Math.max(0, Math.floor(scrollTop / rowPx) - SPARE_ROWS)
    const to = Math.min(total, Math.ceil((scrollTop + clientHeight) / rowPx) + SPARE_ROWS)
    setView((before) => (before.from === from && before.to === to ? before : { from, to }))
  }
  useLayoutEffect(measure, [total, rowPx])
  useEffect(() => {
    addEventListener('resize', measure)
    return () => removeEventListener('resize', measure)
  })
  return { view, measure }
}

const Pending = () => (
  <span role="cell" class="muted">
    …
  </span>
)

function Row(p: { readonly index: number; readonly rowPx: number; readonly children: ComponentChildren }) {
  const { index, rowPx } = p
  return (
    <div
      role="row"
      aria-rowindex={index + 2}
      data-index={index}
      class="grid-row"
      style={{ top: `${index * rowPx}px`, height: `${rowPx}px` }}
    >
      {p.children}
    </div>
  )
}
