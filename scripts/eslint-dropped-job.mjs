/**
 * A native job starts when it is made, and what went wrong is told by its promise: a statement that drops the job neither waits for it nor hears of its failure.
 * `no-floating-promises` does not see it, as a job is no promise itself. `void` says that it is meant.
 */
export const droppedJob = {
  meta: {
    type: 'problem',
    schema: [],
    messages: { dropped: 'A native job is dropped: await runJob(() => ...), or say with void that nobody waits.' },
  },
  create(context) {
    return {
      ExpressionStatement({ expression }) {
        if (expression.type !== 'CallExpression') return
        const type = context.sourceCode.parserServices.getTypeAtLocation(expression)
        if (type.symbol?.name === 'NativeJob') context.report({ node: expression, messageId: 'dropped' })
      },
    }
  },
}
