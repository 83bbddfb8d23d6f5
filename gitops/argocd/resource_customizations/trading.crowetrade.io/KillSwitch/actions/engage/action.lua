-- Another person re-arms it, and not from here: admission wants a name in spec.engagedBy and the verb rearm.
obj.spec.engaged = true
obj.spec.engagedBy = nil
obj.spec.reason = "engaged by an action of Argo CD"
return obj
