/** The browser's own modal dialogs: focus stays inside, Escape closes, focus goes back to where it was. */
import type { ComponentChildren } from 'preact'
import { useLayoutEffect, useRef, useState } from 'preact/hooks'
import { Problem } from '../api.ts'
import { announce } from './announce.tsx'
import { ProblemNote } from './basics.tsx'

export function Dialog(p: {
  readonly title: string
  readonly close: () => void
  readonly children: ComponentChildren
}) {
  const dialog = useRef<HTMLDialogElement>(null)
  const isOver = useRef(false)
  // Not after the next frame: what has the focus meanwhile hears the keys of whoever types fast.
  useLayoutEffect(() => {
    const before = document.activeElement
    const element = dialog.current!
    element.showModal()
    return () => {
      isOver.current = true
      // As long as it is open, nothing behind it takes the focus.
      element.close()
      if (before instanceof HTMLElement && before.isConnected) before.focus()
    }
  }, [])
  // The browser's own Escape closes first and tells later: a key between the two would go to what is still to be asked.
  const onKeyDown = (event: KeyboardEvent): void => {
    if (event.key !== 'Escape' || event.isComposing) return
    event.preventDefault()
    p.close()
  }
  return (
    <dialog
      ref={dialog}
      aria-labelledby="dialog-title"
      onKeyDown={onKeyDown}
      onClose={() => isOver.current || p.close()}
    >
      <h2 id="dialog-title">{p.title}</h2>
      {p.children}
    </dialog>
  )
}

export type Question = {
  readonly title: string
  /** What follows from it. */
  readonly text: ComponentChildren
  readonly yes: string
  readonly isDangerous?: boolean
  readonly act: () => Promise<unknown>
  /** Said when it is done. */
  readonly said: string
}

/** @returns what asks, and the dialog to be shown */
export function useQuestion(): { ask(question: Question): void; dialog: ComponentChildren } {
  const [question, setQuestion] = useState<Question>()
  const close = (): void => setQuestion(undefined)
  return { ask: setQuestion, dialog: question && <Confirm key={question.title} {...question} close={close} /> }
}

function Confirm({ title, text, yes, isDangerous, act, said, close }: Question & { close: () => void }) {
  const [problem, setProblem] = useState<Problem>()
  const [isBusy, setBusy] = useState(false)
  const go = async (): Promise<void> => {
    setBusy(true)
    try {
      await act()
      announce(said)
      close()
    } catch (thrown) {
      if (!(thrown instanceof Problem)) throw thrown
      setProblem(thrown)
    } finally {
      setBusy(false)
    }
  }
  return (
    <Dialog title={title} close={close}>
      <div>{text}</div>
      {problem && <ProblemNote problem={problem} />}
      <div class="actions">
        <button type="button" onClick={close}>
          Cancel
        </button>
        <button
          type="button"
          class={isDangerous === true ? 'danger' : 'primary'}
          disabled={isBusy}
          onClick={() => void go()}
        >
          {yes}
        </button>
      </div>
    </Dialog>
  )
}
