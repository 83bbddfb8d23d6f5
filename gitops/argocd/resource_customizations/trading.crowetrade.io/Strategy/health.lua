-- By the conditions that kstatus and Flux read as well; never by reasons, phases or messages, which may become more.
local status, told = obj.status or {}, {Ready = {message = "Waiting for the operator."}}
for _, condition in ipairs(status.conditions or {}) do
  told[condition.type] = condition
end
local function health(condition, word)
  if told[condition] ~= nil and told[condition].status == "True" then
    return {status = word, message = told[condition].message}
  end
end
local observed = status.observedGeneration == obj.metadata.generation
return observed and (health("Reconciling", "Progressing") or health("Stalled", "Degraded")
  or health("Suspended", "Suspended") or health("Ready", "Healthy"))
  or {status = "Progressing", message = told.Ready.message}
